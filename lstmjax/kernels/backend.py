"""What a backend is, and which one serves a call."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.extend

from lstmjax import checks
from lstmjax.types import Cell


class Request(NamedTuple):
    """What of a call decides: its cell with its noise drawn, its parameters and its steps."""

    cell: Cell[Any, Any]
    params: Any
    num_steps: int
    batch: int
    right_padded: bool
    has_resets: bool
    explicitly_sharded: bool


class Backend(NamedTuple):
    """A way to run a cell over time.

    Args:
      name: what `backend=` calls it.
      refuses: why it cannot serve a request, or None.
      declines: why "auto" passes it over although it could serve, or None.
      run: of cell, parameters, `Steps`, state, initial state and whether in reverse, to the last state and the outputs
        [T, B, ...].
      platform: the only one that `run` can be lowered for, as JAX calls it; None if that is any. For which one a call
        will be lowered is not known while it is traced: on others the next backend that can serve does.
    """

    name: str
    refuses: Callable[[Request], str | None]
    declines: Callable[[Request], str | None]
    run: Callable[..., tuple[Any, Any]]
    platform: str | None = None


class Explanation(NamedTuple):
    """The backend that serves a call, and for each of the others why it does not.

    `elsewhere` names those that serve on platforms that `backend` is not made for, in the order to try them.
    """

    backend: str
    reasons: dict[str, str]
    elsewhere: tuple[str, ...] = ()

    @property
    def backends(self) -> tuple[str, ...]:
        return (self.backend, *self.elsewhere)

    def __str__(self) -> str:
        return "\n".join([f"{self.backend} serves this call", *(f"not {k}: {v}" for k, v in self.reasons.items())])


def select(backend: str, request: Request, backends: Sequence[Backend]) -> Explanation:
    """The backend asked for if it can serve the request, else the next that can; "auto" asks for the first.

    Args:
      backends: in the order of falling back; the last one refuses nothing.

    Raises:
      ValueError: no such backend.
    """
    names = [each.name for each in backends]
    checks.one_of("backend", backend, ("auto", *reversed(names)))
    by_itself = backend == "auto"
    reasons = {each.name: _against(each, request, by_itself) for each in backends}
    asked = 0 if by_itself else names.index(backend)
    can_serve = [each for each in backends[asked:] if reasons[each.name] is None]
    anywhere = next(i for i, each in enumerate(can_serve) if each.platform is None)
    chosen, *elsewhere = can_serve[: anywhere + 1]
    if elsewhere and {each.platform for each in (chosen, *elsewhere)} >= platforms():
        elsewhere[-1] = can_serve[-1]  # for exports alone, yet traced at every call: the quickest to trace
    better = "was asked for" if chosen.name == backend else "is faster"
    others = {name: reason or f"{chosen.name} {better}" for name, reason in reasons.items() if name != chosen.name}
    for before, after in itertools.pairwise([chosen, *elsewhere]):
        others[after.name] += f"; on platforms that {before.name} is not made for, {after.name} serves"
    return Explanation(chosen.name, others, tuple(each.name for each in elsewhere))


def platforms() -> set[str]:
    """Those that JAX has here, as JAX calls them."""
    return set(jax.extend.backend.backends())


def _against(backend: Backend, request: Request, by_itself: bool) -> str | None:
    refused = backend.refuses(request)
    return backend.declines(request) if refused is None and by_itself else refused


def never(request: Request) -> None:
    """No reason against any request."""
