"""What the configs of several families share: checks of their fields, and what is built from the same fields."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from flax import nnx

from lstmjax import cells, checks, regularizers
from lstmjax.types import Cell

CELLS: dict[str, Any] = {"lstm": cells.LSTM, "gru": cells.GRU, "elman": cells.ElmanRNN}
LARGEST = 2**29 - 1  # of a size: the gates' 4H is then one that JAX can hold


def check_fields(config: Any, least: Mapping[str, int] = MappingProxyType({})) -> None:
    """Check each field of a config by its annotation; lists, as JSON has them, become tuples.

    A `Literal` is one of its words, a `bool` True or False, an `int` a whole number of at least 1, a `tuple[int, ...]`
    a tuple of these, and a `float` a rate in [0, 1). None passes where the annotation has it.

    Args:
      config: a frozen dataclass.
      least: the smallest value of an `int` where it is not 1; 0 for a `float` that may be any finite number from 0 on.

    Raises:
      TypeError: a value of another type.
      ValueError: another word, or a number out of range.

    >>> check_fields(lx.models.FramePredictorConfig(), {"patch_size": 5})
    Traceback (most recent call last):
    ValueError: patch_size must be at least 5, got 4
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, list):
            value = tuple(value)
            object.__setattr__(config, field.name, value)
        kind: Any = field.type
        if type(None) in get_args(kind):
            if value is None:
                continue
            kind = get_args(kind)[0]
        _check_value(field.name, value, kind, least.get(field.name))


def _check_value(name: str, value: Any, kind: Any, least: int | None) -> None:
    if get_origin(kind) is Literal:
        checks.one_of(name, value, get_args(kind))
    elif kind is bool:
        checks.boolean(name, value)
    elif kind is int:
        checks.index(name, value, 1 if least is None else least, LARGEST)
    elif kind is float:
        check = checks.rate if least is None else checks.at_least_zero
        check(name, value)
    elif not isinstance(value, tuple):
        entries = "strings" if get_args(kind)[0] is str else "numbers"
        raise TypeError(f"{name} must be a tuple of {entries}, got {value!r}")
    elif get_args(kind)[0] is int:
        for number in value:
            checks.index(name, number, 1, LARGEST)


def check_recurrent(config: Any, *of_layers: str) -> None:
    """Refuse recurrent layers without a width, and options that act on layers that are not there.

    Args:
      config: has `cell`, "none" for no recurrent layers; `hidden_features`; and `hidden_dropout`, between layers.
      of_layers: its other fields that act on recurrent layers; 0, False and None leave them unused.

    Raises:
      ValueError: see above.
    """
    if config.cell == "none":
        for name in ("hidden_dropout", *of_layers):
            if getattr(config, name):
                raise ValueError(f"{name} acts on recurrent layers, so it needs a cell, got cell 'none'")
    elif not config.hidden_features:
        raise ValueError("hidden_features must have a width for at least one recurrent layer, got none")
    if config.hidden_dropout and len(config.hidden_features) < 2:
        raise ValueError("hidden_dropout acts between recurrent layers, so it needs two widths in hidden_features")


def check_size(name: str, size: int | None, found: int | None, what: str) -> None:
    """A size in a config is how many there are beside the trained model.

    Raises:
      ValueError: it is another.
    """
    if size != found:
        raise ValueError(f"its {name} is {size}, and there are {found} {what}")


def cell_maker(cell: str, recurrent_dropout: float = 0.0) -> Callable[[int, int], Cell[Any, Any]]:
    """From a layer's in_features and hidden_features to its cell, with dropout on what enters its recurrent product.

    >>> type(cell_maker("gru", 0.5)(3, 5)).__name__
    'RecurrentDropout'
    """

    def make(in_features: int, hidden_features: int) -> Cell[Any, Any]:
        plain: Cell[Any, Any] = CELLS[cell](in_features, hidden_features)
        return regularizers.RecurrentDropout(plain, recurrent_dropout) if recurrent_dropout else plain

    return make


def embedding(vocab_size: int, features: int, is_trained: bool, rngs: nnx.Rngs) -> nnx.Embed:
    """An embedding; one that is not trained, such as pretrained vectors, is no `nnx.Param`."""
    embed = nnx.Embed(vocab_size, features, rngs=rngs)
    if not is_trained:
        frozen: Any = nnx.Variable(embed.embedding[...])
        embed.embedding = frozen
    return embed
