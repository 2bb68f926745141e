"""What a trained model says of other data than its own: loaded, compiled, and asked example by example."""

import csv
import functools
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
from flax import nnx

from lstmjax.data.source import Bucketed, SequenceBatch
from lstmjax.errors import InputError
from lstmjax.saved import Trained, load_model
from lstmjax.types import PyTree

Answer = TypeVar("Answer")


def load(checkpoint: Path, step: int | None, *kinds: type) -> Trained:
    """The best model of a run, or that of a step, which must be of one of these kinds.

    Raises:
      InputError: it is of another kind, or can't be read.
    """
    model, companion = load_model(checkpoint, "best" if step is None else step)
    if not isinstance(model, kinds):
        names = [kind.__name__ for kind in kinds]
        expected = " or ".join(f"{'an' if name[0] in 'AEIOU' else 'a'} {name}" for name in names)
        raise InputError(f"{checkpoint} holds a {type(model).__name__}; expected {expected}")
    return Trained(model, companion)


def compiled(model: nnx.Module, function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """`function(model, *inputs)` as a compiled function of the inputs."""
    graphdef, variables = nnx.split(model)

    @jax.jit
    def of_inputs(variables: Any, *inputs: Any) -> PyTree:
        return function(nnx.merge(graphdef, variables), *inputs)

    return functools.partial(of_inputs, variables)


def in_order(source: Bucketed, say: Callable[[SequenceBatch], Iterable[Answer]]) -> list[Answer]:
    """What is said of each sequence, in their order; the targets of the source are their numbers 0..N-1.

    Args:
      source: all sequences, once.
      say: what there is to say of each row of a batch.
    """
    found: dict[int, Answer] = {}
    for position in range(len(source)):
        batch = source.batch(position)
        found |= zip(batch.targets.tolist(), say(batch), strict=True)  # rows that fill a batch up say the same again
    return [found[number] for number in range(len(found))]


def csv_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under a header, as CSV."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def digits(value: float) -> str:
    """A number with all that float32 knows of it."""
    return f"{value:.9g}"
