"""Models of clips from a config alone."""

import dataclasses
from typing import Literal

from flax import nnx

from lstmjax.models import sequence_config
from lstmjax.models.cnn_lstm import CNNLSTM, StackedCNN, every_step
from lstmjax.models.frame_encoder import FrameEncoderConfig, encoder_of
from lstmjax.models.sequence_config import SequenceToOneConfig
from lstmjax.models.sequence_to_one import SequenceClassifier


@dataclasses.dataclass(frozen=True)
class CNNLSTMConfig(FrameEncoderConfig):
    """Sizes and regularisation of a `CNNLSTM`."""

    frame_features: int = 64
    """Size of the vector that a frame becomes."""
    cell: Literal["lstm", "gru", "elman", "none"] = "lstm"
    """What the recurrent layers are made of; none leaves them out, and what is pooled are the frames' own vectors."""
    hidden_features: tuple[int, ...] = (64,)
    """The width of each recurrent layer, in each direction, bottom first; unused where there is no cell."""
    bidirectional: bool = False
    """Two cells a layer, one in each direction."""
    pooling: Literal["last", "mean", "max", "attention", "none"] = "last"
    """How the outputs of all steps become one vector; none gives every frame a label of its own."""
    input_dropout: float = 0.0
    """Locked dropout on the frames' vectors, in [0, 1)."""
    hidden_dropout: float = 0.0
    """Dropout between recurrent layers, in [0, 1); needs two of them."""
    recurrent_dropout: float = 0.0
    """Dropout on what enters the recurrent product, one mask a clip, in [0, 1)."""
    output_dropout: float = 0.0
    """Dropout on what the last layer reads, in [0, 1)."""
    window: int | None = None
    """Read so many frames as the channels of one image, without recurrence: a `StackedCNN`; None reads each frame."""
    num_classes: int | None = None
    """How many classes there are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sequence()  # refuses what does not go together
        unused = self.cell != "none" or self.pooling != "last" or self.input_dropout or self.output_dropout
        if self.window is not None and unused:
            raise ValueError("window reads all frames at once, so it needs cell 'none', pooling 'last', no dropout")

    @property
    def each_frame(self) -> bool:
        """Every frame has a label of its own."""
        return self.pooling == "none"

    def sequence(self) -> SequenceToOneConfig:
        """The part that reads the frames' vectors."""
        return SequenceToOneConfig(
            cell=self.cell,
            hidden_features=self.hidden_features,
            bidirectional=self.bidirectional,
            pooling="mean" if self.pooling == "none" else self.pooling,
            input_dropout=self.input_dropout,
            hidden_dropout=self.hidden_dropout,
            recurrent_dropout=self.recurrent_dropout,
            output_dropout=self.output_dropout,
            answer="class",
            in_features=self.frame_features,
            num_outputs=self.num_classes,
        )


def build(config: CNNLSTMConfig, rngs: nnx.Rngs) -> CNNLSTM | StackedCNN:
    """The model that a config describes.

    Raises:
      ValueError: the config leaves open what the data decide.

    >>> config = CNNLSTMConfig(channels=(4, 4), image_shape=(8, 8, 1), num_classes=3)
    >>> build(config, nnx.Rngs(0))(jnp.zeros((2, 7, 8, 8, 1))).shape
    (2, 3)
    """
    if config.image_shape is None or config.num_classes is None:
        raise ValueError("image_shape and num_classes must be set")
    height, width, channels = config.image_shape
    image_shape = (height, width, channels * (config.window or 1))
    frames = encoder_of(config, image_shape, config.frame_features, rngs)
    if config.window is not None:
        return StackedCNN(frames, config.window, config.num_classes, rngs=rngs)
    classifier = sequence_config.build(config.sequence(), rngs)
    assert isinstance(classifier, SequenceClassifier)
    classifier.encoder.embed = None  # the vectors are learned: nothing is to be standardised
    if config.each_frame:
        classifier.encoder.pool = every_step  # of as many features as the mean, for which the rest was made
    return CNNLSTM(frames, classifier)
