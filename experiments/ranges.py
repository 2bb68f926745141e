"""Which values a setting may have, as part of its type: `steps: Positive = 100`."""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal

from lstmjax import checks


def at_least(low: int, high: int | None = None) -> Callable[[str, int], int]:
    """The check of a whole number in [low, high]."""
    return functools.partial(checks.index, low=low, high=high)


Positive = Annotated[int, checks.positive_int]
Index = Annotated[int, at_least(0)]
Seed = Annotated[int, at_least(0, 2**32 - 1)]
Fraction = Annotated[float, checks.fraction]
Amount = Annotated[float, checks.at_least_zero]


class Checked:
    """A dataclass whose values must be what their types say: a word of a Literal, and what an Annotated's check passes.

    None, and nested configs, which check themselves, are let through.

    Raises:
      TypeError, ValueError: a value is none of those.

    >>> @dataclasses.dataclass
    ... class Config(Checked):
    ...     steps: Positive | None = None
    ...     sizes: tuple[Positive, ...] = (1, 2)
    >>> Config(), Config(steps=0)
    Traceback (most recent call last):
    ValueError: steps must be at least 1, got 0
    """

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            _check(field.name, hints[field.name], getattr(self, field.name))


def _check(name: str, hint: Any, value: Any) -> None:
    if value is None:
        return
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        arguments[1](name, value)
    elif origin is Literal:
        checks.one_of(name, value, arguments)
    elif origin in (typing.Union, types.UnionType):
        for alternative in arguments:
            _check(name, alternative, value)
    elif origin is tuple:
        for each in value:
            _check(name, arguments[0], each)
