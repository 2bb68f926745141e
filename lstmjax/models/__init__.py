"""Models: layers put together for a task, one file a family; `FAMILIES` says which there are.

- `config_parts.py`: what the configs share: checks of their fields, cells, embeddings
- `language_model.py`: embedding, recurrent layers, projection, and what it is trained to do
- `language_model_config.py`: language models from a config alone
- `sequence_to_one.py`: recurrent layers, pooling, dense layers; classifiers and regressors
- `sequence_config.py`: classifiers and regressors from a config alone
- `sequence_task.py`: what classifiers and regressors are trained to do, and their figures
- `forecaster.py`: histories of series to distributions of what comes, all steps at once or one after another
- `forecast_networks.py`: the networks of forecasters that say all steps at once
- `forecaster_config.py`: forecasters from a config alone
- `forecaster_task.py`: what forecasters are trained to do, and what their numbers mean
- `tagger.py`: a tag for every token, from words and their characters
- `tagger_config.py`: taggers from a config alone
- `tagger_task.py`: what taggers are trained to do, and their figures
- `mixture_density.py`: drawings point by point, each a mixture of Gaussians
- `seq2seq.py`: from one sequence to another: an encoder, and a decoder that writes
- `decoders.py`: decoders that look back at what was read, and one that does not
- `decoder_steps.py`: what all decoders share
- `seq2seq_config.py`: encoder-decoder models from a config alone
- `seq2seq_task.py`: what encoder-decoder models are trained to do, and what their symbols mean
- `frame_predictor.py`: the next frames of a video, by convolutional LSTMs
- `piano_roll.py`: music, the notes of the next step from all steps before it
- `piano_roll_notes.py`: the notes of a step, each by itself or all together
- `piano_roll_config.py`: models of music from a config alone, what they are trained to do, and what their keys mean
- `frame_encoder.py`: images as vectors and as maps of features
- `cnn_lstm.py`: clips to labels, of a whole clip or of each frame
- `cnn_lstm_config.py`: models of clips from a config alone
- `cnn_lstm_task.py`: what models of clips are trained to do, and their figures
- `image_decoder.py`: from an image to a sequence
- `image_decoder_config.py`: models of images and their texts from a config alone
- `image_decoder_task.py`: what models of images and their texts are trained to do, and what their symbols mean
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from flax import nnx

from lstmjax.data.text import load_vocabulary
from lstmjax.models import (
    cnn_lstm_config,
    cnn_lstm_task,
    forecaster_config,
    forecaster_task,
    frame_predictor,
    image_decoder_config,
    image_decoder_task,
    language_model,
    language_model_config,
    mixture_density,
    piano_roll_config,
    seq2seq_config,
    seq2seq_task,
    sequence_config,
    sequence_task,
    tagger_config,
    tagger_task,
)
from lstmjax.models.cnn_lstm import CNNLSTM
from lstmjax.models.cnn_lstm_config import CNNLSTMConfig
from lstmjax.models.decoder_steps import Looking
from lstmjax.models.decoders import BahdanauDecoder, LuongDecoder, PlainDecoder
from lstmjax.models.forecast_networks import DecoderNetwork, DirectNetwork, WindowNetwork
from lstmjax.models.forecaster import Forecaster, RecursiveForecaster
from lstmjax.models.forecaster_config import ForecasterConfig
from lstmjax.models.frame_encoder import FrameEncoder
from lstmjax.models.frame_predictor import FramePredictor, FramePredictorConfig
from lstmjax.models.image_decoder import ImageDecoder
from lstmjax.models.image_decoder_config import ImageDecoderConfig
from lstmjax.models.language_model import LanguageModel
from lstmjax.models.language_model_config import LanguageModelConfig
from lstmjax.models.mixture_density import MixtureDensity, MixtureDensityConfig
from lstmjax.models.piano_roll import PianoRoll
from lstmjax.models.piano_roll_config import PianoRollConfig
from lstmjax.models.piano_roll_notes import NADE, IndependentNotes
from lstmjax.models.seq2seq import Seq2Seq
from lstmjax.models.seq2seq_config import Seq2SeqConfig
from lstmjax.models.sequence_config import SequenceToOneConfig
from lstmjax.models.sequence_to_one import SequenceClassifier, SequenceEncoder, SequenceRegressor
from lstmjax.models.tagger import CharacterCNN, CharacterLSTM, Tagger
from lstmjax.models.tagger_config import TaggerConfig
from lstmjax.tasks import Task

__all__ = [
    "CNNLSTM",
    "FAMILIES",
    "NADE",
    "BahdanauDecoder",
    "CNNLSTMConfig",
    "CharacterCNN",
    "CharacterLSTM",
    "DecoderNetwork",
    "DirectNetwork",
    "Family",
    "Forecaster",
    "ForecasterConfig",
    "FrameEncoder",
    "FramePredictor",
    "FramePredictorConfig",
    "ImageDecoder",
    "ImageDecoderConfig",
    "IndependentNotes",
    "LanguageModel",
    "LanguageModelConfig",
    "Looking",
    "LuongDecoder",
    "MixtureDensity",
    "MixtureDensityConfig",
    "PianoRoll",
    "PianoRollConfig",
    "PlainDecoder",
    "RecursiveForecaster",
    "Seq2Seq",
    "Seq2SeqConfig",
    "SequenceClassifier",
    "SequenceEncoder",
    "SequenceRegressor",
    "SequenceToOneConfig",
    "Tagger",
    "TaggerConfig",
    "WindowNetwork",
]


class Family(NamedTuple):
    """Models of one kind, made from a config alone.

    Args:
      config: a frozen dataclass that holds every size.
      build: `(config, rngs) -> module`.
      task: `config -> Task`, what it is trained to do.
      companion: reads what goes with a trained model, such as its vocabulary, from its run's folder; None by default.
      completed: `(config, companion) -> config` with every size that the companion decides; ValueError where the two
        do not belong together. The config as it is by default.
    """

    config: type[Any]
    build: Callable[[Any, nnx.Rngs], nnx.Module]
    task: Callable[[Any], Task]
    companion: Callable[[Path], Any] = lambda folder: None
    completed: Callable[[Any, Any], Any] = lambda config, companion: config


def _family(config: type[Any], config_file: ModuleType, task_file: ModuleType) -> Family:
    """A family that has one file for its config and one for its task."""
    return Family(config, config_file.build, task_file.task, task_file.read_meaning, task_file.with_meaning)


FAMILIES: dict[str, Family] = {
    "language-model": Family(
        config=LanguageModelConfig,
        build=lambda config, rngs: LanguageModel(config.vocab_size, config, rngs=rngs),
        task=language_model.task,
        companion=lambda folder: load_vocabulary(folder / "vocabulary.json"),
        completed=language_model_config.with_vocabulary,
    ),
    "sequence-to-one": _family(SequenceToOneConfig, sequence_config, sequence_task),
    "forecaster": _family(ForecasterConfig, forecaster_config, forecaster_task),
    "tagger": _family(TaggerConfig, tagger_config, tagger_task),
    "seq2seq": _family(Seq2SeqConfig, seq2seq_config, seq2seq_task),
    "frame-predictor": Family(FramePredictorConfig, frame_predictor.build, frame_predictor.task),
    "piano-roll": Family(
        config=PianoRollConfig,
        build=piano_roll_config.build,
        task=piano_roll_config.task,
        companion=piano_roll_config.read_keyboard,
        completed=piano_roll_config.with_keyboard,
    ),
    "mixture-density": Family(
        config=MixtureDensityConfig,
        build=lambda config, rngs: MixtureDensity(config, rngs=rngs),
        task=mixture_density.task,
    ),
    "cnn-lstm": _family(CNNLSTMConfig, cnn_lstm_config, cnn_lstm_task),
    "image-decoder": _family(ImageDecoderConfig, image_decoder_config, image_decoder_task),
}
