"""Models of piano rolls from a config alone, and what they are trained to do."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from lstmjax import cells, checks, layers, regularizers
from lstmjax.data.music import Keyboard, load_keyboard
from lstmjax.data.source import SequenceBatch
from lstmjax.models.piano_roll import PianoRoll
from lstmjax.models.piano_roll_notes import NADE, IndependentNotes
from lstmjax.tasks import Mean, Task
from lstmjax.types import Cell

CELLS = {"lstm": cells.LSTM, "gru": cells.GRU, "elman": cells.ElmanRNN}
DROPOUTS = ("input_dropout", "hidden_dropout", "recurrent_dropout", "output_dropout")


@dataclasses.dataclass(frozen=True)
class PianoRollConfig:
    """Sizes and regularisation of a `PianoRoll`."""

    output: Literal["nade", "independent"] = "nade"
    """The notes of a step all together, each given those below it, or every note by itself."""
    cell: Literal["lstm", "gru", "elman", "none"] = "lstm"
    """What the layers are made of; none leaves them out, and a step follows from the one before it alone."""
    hidden_features: tuple[int, ...] = (200,)
    """The width of each recurrent layer, bottom first; unused where there is no cell."""
    nade_features: int = 100
    """H, the hidden width of nade; unused by independent notes."""
    input_dropout: float = 0.1
    """Locked dropout on the notes that are read, in [0, 1)."""
    hidden_dropout: float = 0.0
    """Dropout between recurrent layers, in [0, 1); needs two of them."""
    recurrent_dropout: float = 0.3
    """Dropout on what enters the recurrent product, one mask a piece, in [0, 1)."""
    output_dropout: float = 0.5
    """Locked dropout on what the last layer gives, in [0, 1)."""
    num_notes: int | None = None
    """P, how many keys the roll has; None leaves this and what follows to the data."""
    most_notes: int | None = None
    """K, how many notes sound at once at most; in 1..P."""

    def __post_init__(self) -> None:
        checks.one_of("output", self.output, ("nade", "independent"))
        checks.one_of("cell", self.cell, (*CELLS, "none"))
        for name in DROPOUTS:
            checks.rate(name, getattr(self, name))
        if isinstance(self.hidden_features, list):  # from JSON
            object.__setattr__(self, "hidden_features", tuple(self.hidden_features))
        if not isinstance(self.hidden_features, tuple):
            raise TypeError(f"hidden_features must be a tuple of numbers, got {self.hidden_features!r}")
        for width in self.hidden_features:
            checks.index("hidden_features", width, 1, 2**29 - 1)
        checks.positive_int("nade_features", self.nade_features)
        for name in ("num_notes", "most_notes"):
            if getattr(self, name) is not None:
                checks.positive_int(name, getattr(self, name))
        self._check_together()

    def _check_together(self) -> None:
        """What one option asks of another; nothing that is given is left unused."""
        if self.cell == "none" and (self.recurrent_dropout or self.hidden_dropout):
            raise ValueError("hidden_dropout and recurrent_dropout act on recurrent layers, got cell 'none'")
        if self.cell != "none" and not self.hidden_features:
            raise ValueError("hidden_features must have a width for at least one recurrent layer, got none")
        if self.hidden_dropout and len(self.hidden_features) < 2:
            raise ValueError("hidden_dropout acts between recurrent layers, so it needs two widths in hidden_features")


def build(config: PianoRollConfig, rngs: nnx.Rngs) -> PianoRoll:
    """The model that a config describes.

    Raises:
      ValueError: the config leaves open what the data decide.

    >>> model = lx.models.piano_roll_config.build(lx.models.PianoRollConfig(num_notes=88, most_notes=4), nnx.Rngs(0))
    >>> model(jnp.zeros((2, 7, 88), bool))[0].visible.shape
    (2, 7, 88)
    """
    if config.num_notes is None or config.most_notes is None:
        raise ValueError("num_notes and most_notes must be set")
    recurrent = None if config.cell == "none" else _recurrent(config, config.num_notes, rngs)
    features = config.num_notes if recurrent is None else recurrent.out_shape[-1]
    return PianoRoll(
        recurrent,
        _notes(config, features, config.num_notes, config.most_notes, rngs),
        input_dropout=config.input_dropout,
        output_dropout=config.output_dropout,
    )


def _notes(
    config: PianoRollConfig, features: int, num_notes: int, most_notes: int, rngs: nnx.Rngs
) -> IndependentNotes | NADE:
    if config.output == "independent":
        return IndependentNotes(features, num_notes, rngs=rngs)
    return NADE(features, num_notes, config.nade_features, most_notes=most_notes, rngs=rngs)


def _recurrent(config: PianoRollConfig, num_notes: int, rngs: nnx.Rngs) -> layers.Stacked:
    def cell(inputs: int, hidden: int) -> Cell[Any, Any]:
        plain: Cell[Any, Any] = CELLS[config.cell](inputs, hidden)
        return regularizers.RecurrentDropout(plain, config.recurrent_dropout) if config.recurrent_dropout else plain

    return layers.stack(cell, num_notes, config.hidden_features, dropout=config.hidden_dropout, rngs=rngs)


def with_keyboard(config: PianoRollConfig, keyboard: Keyboard) -> PianoRollConfig:
    """The config, once it is sure that it belongs with its keyboard.

    Raises:
      ValueError: it has another size.
    """
    if config.num_notes != len(keyboard):
        raise ValueError(f"its num_notes is {config.num_notes}, and its keyboard has {len(keyboard)} keys")
    return config


def read_keyboard(folder: Path) -> Keyboard:
    """Read what stands beside a trained model."""
    return load_keyboard(folder / "keyboard.json")


def task(config: PianoRollConfig) -> Task:
    """Predict the notes of each step of a piece from all steps before it, the first from a silent one.

        nll = mean over steps t of -log p(v[t] | v[..t-1]),    in nats, summed over notes

    Args:
      config: any; the task is the same for all.

    Returns:
      a task over `SequenceBatch`es: `inputs` are rolls [B, T, P], booleans; targets are not looked at. Its loss counts
      every step of every piece once. At evaluation also `nll`, which leaves out each piece's first step: this is the
      figure of Bai, Kolter and Koltun 2018, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks
      for Sequence Modeling", whose code sums it over the steps of all pieces and divides once by how many there are.
    """
    return Task(_loss)


def _loss(model: PianoRoll, batch: SequenceBatch, carry: tuple[()], key: Any) -> tuple[dict[str, Mean], tuple[()]]:
    rolls = jnp.asarray(batch.inputs)
    rows, steps = rolls.shape[:2]
    lengths = jnp.full(rows, steps, jnp.int32) if batch.lengths is None else jnp.asarray(batch.lengths)
    scores, _ = model(before(rolls), lengths=lengths, key=key)
    nll = -model.notes.log_likelihood(scores, rolls)
    inside = jnp.arange(steps, dtype=lengths.dtype)[None, :] < lengths[:, None]
    counts = jnp.asarray(batch.weights)[:, None] * inside.astype(jnp.float32)
    means = {"loss": Mean.of(nll, counts)}
    return (means if key is not None else means | {"nll": Mean.of(nll[:, 1:], counts[:, 1:])}), carry


def before(rolls: Any) -> Any:
    """What is known before each step of rolls [B, T, P]: the step before it, and silence before the first."""
    return jnp.pad(rolls[:, :-1], ((0, 0), (1, 0), (0, 0)))
