"""Models of piano rolls from a config alone, and what they are trained to do."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from lstmjax import layers
from lstmjax.data.music import Keyboard, load_keyboard
from lstmjax.data.source import SequenceBatch
from lstmjax.models.config_parts import cell_maker, check_fields, check_recurrent, check_size
from lstmjax.models.piano_roll import PianoRoll
from lstmjax.models.piano_roll_notes import NADE, IndependentNotes
from lstmjax.tasks import Mean, Task

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
        check_fields(self)
        check_recurrent(self, "recurrent_dropout")


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
    recurrent, features = None, config.num_notes
    if config.cell != "none":
        cell = cell_maker(config.cell, config.recurrent_dropout)
        recurrent = layers.stack(cell, features, config.hidden_features, dropout=config.hidden_dropout, rngs=rngs)
        features = config.hidden_features[-1]
    notes: IndependentNotes | NADE
    if config.output == "independent":
        notes = IndependentNotes(features, config.num_notes, rngs=rngs)
    else:
        notes = NADE(features, config.num_notes, config.nade_features, most_notes=config.most_notes, rngs=rngs)
    return PianoRoll(recurrent, notes, input_dropout=config.input_dropout, output_dropout=config.output_dropout)


def with_keyboard(config: PianoRollConfig, keyboard: Keyboard) -> PianoRollConfig:
    """The config, once it is sure that it belongs with its keyboard.

    Raises:
      ValueError: it has another size.
    """
    check_size("num_notes", config.num_notes, len(keyboard), "keys on its keyboard")
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
