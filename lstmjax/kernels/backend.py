"""What a backend is, and which one serves a call."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
        [T, B, ...]. It must lower for every platform, by `lax.platform_dependent` where they differ: for which one a
        call is lowered is not known while it is traced.
      elsewhere: the backend that `run` hands over to on platforms that this one is not made for; where that one cannot
        serve the request, the next that can.
    """

    name: str
    refuses: Callable[[Request], str | None]
    declines: Callable[[Request], str | None]
    run: Callable[..., tuple[Any, Any]]
    elsewhere: str | None = None


class Explanation(NamedTuple):
    """The backend that serves a call, and for each of the others why it does not."""

    backend: str
    reasons: dict[str, str]

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
    chosen = next(each for each in backends[asked:] if reasons[each.name] is None)
    better = "was asked for" if chosen.name == backend else "is faster"
    others = {name: reason or f"{chosen.name} {better}" for name, reason in reasons.items() if name != chosen.name}
    if chosen.elsewhere is not None:
        after = backends[names.index(chosen.elsewhere) :]
        there = next(each.name for each in after if each.refuses(request) is None)
        others[there] += f"; on platforms that {chosen.name} is not made for, {there} serves"
    return Explanation(chosen.name, others)


def _against(backend: Backend, request: Request, by_itself: bool) -> str | None:
    refused = backend.refuses(request)
    return backend.declines(request) if refused is None and by_itself else refused


def never(request: Request) -> None:
    """No reason against any request."""
