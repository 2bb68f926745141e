"""Batches prepared ahead in the background, and sources over iterators that keep a position of their own."""

import base64
import contextlib
import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Protocol, runtime_checkable

from lstmjax import checks
from lstmjax.data.source import BatchT, Source
from lstmjax.errors import InputError


@runtime_checkable
class Resumable(Protocol):
    """A source whose next batch depends on more than its position: on a state, a text that goes into checkpoints."""

    def state(self) -> str: ...

    def restore(self, state: str) -> None: ...


class Ahead(Iterator[BatchT], Generic[BatchT]):
    """The batches that `prefetch` prepares, in order and without end.

    `state` is the `Resumable` source's after the batch handed out last, however many have been prepared since: what a
    checkpoint after that batch's step needs. None for a source that is a pure function of the position.
    """

    def __init__(self, pool: ThreadPoolExecutor, source: Source[BatchT], start: int, count: int) -> None:
        self._pool, self._source, self._next = pool, source, start
        self._prepared: deque[Future[tuple[BatchT, str | None]]] = deque()
        self.state = _state(source)
        for _ in range(count):
            self._order()

    def __next__(self) -> BatchT:
        prepared = self._prepared.popleft()
        self._order()
        batch, self.state = prepared.result()
        return batch

    def _order(self) -> None:
        self._prepared.append(self._pool.submit(_prepare, self._source, self._next))
        self._next += 1


@contextlib.contextmanager
def prefetch(source: Source[BatchT], start: int = 0, count: int = 2) -> Iterator[Ahead[BatchT]]:
    """Prepare the batches from a position on in one background thread, `count` ahead of the one handed out.

    What goes wrong there is raised, with its traceback, where that batch is asked for. At the end the thread is gone,
    and a `Resumable` source stands after the batch handed out last, as if none had been prepared ahead.

    Args:
      source: what to read; a `Resumable` one must not be used otherwise meanwhile.
      start: the first position, at least 0.
      count: how many batches are kept ready, at least 1.

    Returns:
      a context manager that gives the batches' iterator.

    Raises:
      TypeError, ValueError: a start or a count that is not whole, or out of range.

    >>> source = lx.data.Ordered(lx.data.Examples(np.arange(4), np.arange(4)), batch_size=2)
    >>> with prefetch(source, start=1) as batches:
    ...     next(batches).inputs.tolist(), next(batches).inputs.tolist()
    ([2, 3], [0, 1])
    """
    checks.positive_int("count", count)
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    ahead = None
    try:
        ahead = Ahead(pool, source, checks.index("start", start, 0), count)
        yield ahead
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(source, Resumable) and ahead is not None and ahead.state is not None:
            source.restore(ahead.state)


def _prepare(source: Source[BatchT], position: int) -> tuple[BatchT, str | None]:
    return source.batch(position), _state(source)


def _state(source: Source[Any]) -> str | None:
    return source.state() if isinstance(source, Resumable) else None


class Stateful(Protocol):
    """An iterator that can say where it is and be put back there, as grain's `DatasetIterator` and `DataLoader`'s."""

    def __next__(self) -> Any: ...

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> Any: ...


class IteratorSource:
    """A source over an outside iterator, such as one of grain; its own position goes into checkpoints as `state()`.

    Batches can be had in their order only, so it serves training and not evaluation. Its state is JSON: the position
    and the iterator's own state.

    Args:
      iterator: gives NamedTuples of arrays with a leading B, without end (grain: `.repeat()`); `get_state()` gives
        bytes or what JSON can hold, NumPy numbers included.
      batches: how many count as a pass, at least 1.

    Raises:
      TypeError: an iterator without one of these methods.

    >>> class Numbers:
    ...     at = 0
    ...
    ...     def __next__(self):
    ...         self.at += 1
    ...         return lx.data.Examples(np.array([self.at]), np.array([0]))
    ...
    ...     def get_state(self):
    ...         return {"at": self.at}
    ...
    ...     def set_state(self, state):
    ...         self.at = state["at"]
    >>> source = IteratorSource(Numbers(), batches=10)
    >>> source.batch(0).inputs.tolist(), source.state()
    ([1], '{"position": 1, "iterator": {"at": 1}}')
    """

    def __init__(self, iterator: Stateful, batches: int) -> None:
        missing = [name for name in ("__next__", "get_state", "set_state") if not hasattr(iterator, name)]
        if missing:
            raise TypeError(f"iterator must have {', '.join(missing)}, which {type(iterator).__name__} has not")
        checks.positive_int("batches", batches)
        self._iterator, self._batches, self._position = iterator, batches, 0

    def __len__(self) -> int:
        return self._batches

    def batch(self, position: int) -> Any:
        """The next batch, at the position that comes next.

        Raises:
          ValueError: another position.
          InputError: the iterator has ended.
        """
        if position != self._position:
            raise ValueError(f"position must be {self._position}, the only one an iterator can give, got {position}")
        try:
            batch = next(self._iterator)
        except StopIteration:
            raise InputError(f"the iterator ended after {position} batches; expected one without end") from None
        self._position += 1
        return batch

    def state(self) -> str:
        """Where the next batch stands, as one line of JSON."""
        return json.dumps({"position": self._position, "iterator": self._iterator.get_state()}, default=_plain)

    def restore(self, state: str) -> None:
        """Go back to where `state()` was taken.

        Raises:
          InputError: no such text.
        """
        try:
            found = json.loads(state, object_hook=_from_plain)
        except (TypeError, ValueError, RecursionError):
            found = None
        match found:
            case {"position": int(position), "iterator": own}:
                self._iterator.set_state(own)
                self._position = position
            case _:
                raise InputError(f"{state!r:.60} is not the state of an iterator, as IteratorSource.state() gives it")


def _plain(state: Any) -> Any:
    """Bytes, NumPy numbers and arrays as something JSON can hold."""
    if isinstance(state, bytes):
        return {"base64": base64.b64encode(state).decode()}
    if hasattr(state, "tolist"):
        return state.tolist()
    raise TypeError(f"get_state() must give bytes or what JSON can hold, got {type(state).__name__}")


def _from_plain(found: dict[str, Any]) -> Any:
    return base64.b64decode(found["base64"]) if found.keys() == {"base64"} else found
