"""Sources of batches: where a batch is a pure function of one integer, a checkpoint needs no more than that integer."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import numpy as np

from lstmjax import checks
from lstmjax.errors import InputError
from lstmjax.ragged import pad

BatchT = TypeVar("BatchT", bound=tuple[Any, ...])
Given = TypeVar("Given", bound=tuple[Any, ...], covariant=True)


class Source(Protocol[Given]):
    """Batches by position: NamedTuples of arrays with a leading B, of few shapes, so that little is compiled.

    `len(source)` is how many batches make a pass over the data. `batch(position)` takes any number from 0, passes
    following one another without end; it depends on nothing else, so training resumes from a position alone.
    Rows that only fill a batch up have the weight 0.
    """

    def __len__(self) -> int: ...

    def batch(self, position: int) -> Given: ...


class Examples(NamedTuple):
    """Rows of inputs [N, ...] and targets [N, ...], with a weight [N] for each; None weighs all the same."""

    inputs: Any
    targets: Any
    weights: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Ordered(Generic[BatchT]):
    """All examples in the order they come, B at a time: for evaluation, where every one counts once.

    The last batch is filled up with rows of weight 0, so all batches have one shape.

    Args:
      examples: a NamedTuple of arrays (or trees of them, or None) with a leading N, which has a field `weights`, None
        or numbers [N]: `Examples` or your own. Batches are of its type, `weights` always given, in float32.
      batch_size: B.

    Raises:
      TypeError: no NamedTuple with a field `weights`.
      ValueError: arrays of different N.
      InputError: no examples.

    >>> source = Ordered(Examples(np.arange(5), np.arange(5) ** 2), batch_size=2)
    >>> [source.batch(k).inputs.tolist() for k in range(len(source))], source.batch(2).weights.tolist()
    ([[0, 1], [2, 3], [4, 4]], [1.0, 0.0])
    """

    examples: BatchT
    batch_size: int

    def __post_init__(self) -> None:
        _count(self.examples)
        checks.positive_int("batch_size", self.batch_size)

    def __len__(self) -> int:
        return -(-_count(self.examples) // self.batch_size)

    def batch(self, position: int) -> BatchT:
        """The batch at a position, any number from 0."""
        first = checks.index("position", position, 0) % len(self) * self.batch_size
        rows = np.arange(first, min(first + self.batch_size, _count(self.examples)))
        return _take(self.examples, rows, self.batch_size)


@dataclasses.dataclass(frozen=True, eq=False)
class Shuffled(Generic[BatchT]):
    """All examples once a pass, in another order each pass, which follows from the seed and the pass's number.

    Args:
      examples: see `Ordered`.
      batch_size: B.
      seed: at least 0.
      drop_last: leave out the rows that fill no whole batch (other ones each pass), instead of filling it up with rows
        of weight 0.

    Raises:
      TypeError, ValueError: see `Ordered`.
      InputError: no examples, or with `drop_last` fewer than a batch of them.

    >>> source = Shuffled(Examples(np.arange(5), np.arange(5)), batch_size=2, seed=0)
    >>> [source.batch(k).inputs.tolist() for k in range(len(source))]
    [[2, 4], [3, 0], [1, 1]]
    >>> [source.batch(k).inputs.tolist() for k in range(3, 6)]
    [[1, 4], [3, 0], [2, 2]]
    """

    examples: BatchT
    batch_size: int
    seed: int
    drop_last: bool = False

    def __post_init__(self) -> None:
        checks.positive_int("batch_size", self.batch_size)
        checks.index("seed", self.seed, 0)
        checks.boolean("drop_last", self.drop_last)
        count = _count(self.examples)
        if self.drop_last and count < self.batch_size:
            raise InputError(f"{count} examples fill no batch of {self.batch_size}, so drop_last would leave none")

    def __len__(self) -> int:
        count = _count(self.examples)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def batch(self, position: int) -> BatchT:
        """The batch at a position, any number from 0."""
        epoch, place = divmod(checks.index("position", position, 0), len(self))
        (order,) = orders((_count(self.examples),), self.seed, epoch)
        rows = order[place * self.batch_size : (place + 1) * self.batch_size]
        return _take(self.examples, rows, self.batch_size)


class SequenceBatch(NamedTuple):
    """Sequences filled up with zeros to one length: what is theirs, and how much of it.

    `inputs` [B, T, ...]; `targets` [B, ...], or [B, U, ...] with `target_lengths` [B]; `lengths` [B], None where all
    sequences of the source are equally long; `weights` [B], 0 for rows that only fill the batch up.
    """

    inputs: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray | None
    target_lengths: np.ndarray | None
    weights: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Bucketed:
    """Sequences of all lengths, batched with others of nearly their length: little padding, few shapes.

    The lengths are cut into at most `num_buckets` buckets where that leaves the least padding; a batch comes from one
    bucket and is as long as the longest in it, so there are never more shapes than buckets. Where targets are sequences
    too, the longer one of a pair counts as its length, and each side is as long as its own longest in the bucket. Every
    sequence comes once a pass; a bucket's last batch is filled up with rows of weight 0.

    Args:
      inputs: N arrays, the n-th [T_n, ...]; a length of 0 will do.
      targets: an array [N, ...], one target for a sequence, or N arrays, the n-th [U_n, ...] (U_n is T_n for a target a
        step).
      batch_size: B.
      num_buckets: at most how many shapes, at least 1.
      seed: at least 0, for another order each pass; None keeps one order, for evaluation.

    Raises:
      ValueError: arrays that differ in more than their lengths, or not as many targets as inputs.
      InputError: no sequences.

    >>> lengths = [3, 1, 8, 2, 7]
    >>> source = Bucketed([np.ones(n) for n in lengths], np.arange(5), batch_size=2, num_buckets=2, seed=None)
    >>> source.shapes, [source.batch(k).lengths.tolist() for k in range(len(source))]
    (((2, 3), (2, 8)), [[3, 1], [2, 2], [8, 7]])
    >>> source.batch(1).weights.tolist(), round(source.padding, 3)
    ([1.0, 0.0], 0.25)
    """

    inputs: Sequence[np.ndarray]
    targets: np.ndarray | Sequence[np.ndarray]
    batch_size: int
    num_buckets: int
    seed: int | None

    def __post_init__(self) -> None:
        checks.positive_int("batch_size", self.batch_size)
        checks.positive_int("num_buckets", self.num_buckets)
        if self.seed is not None:
            checks.index("seed", self.seed, 0)
        _check_ragged("inputs", self.inputs)
        if not isinstance(self.targets, np.ndarray):
            _check_ragged("targets", self.targets)
        if len(self.targets) != len(self.inputs):
            raise ValueError(f"targets must be as many as inputs, {len(self.inputs)}, got {len(self.targets)}")

    @functools.cached_property
    def _lengths(self) -> np.ndarray:
        return np.array([len(sequence) for sequence in self.inputs], np.int32)

    @functools.cached_property
    def _target_lengths(self) -> np.ndarray:
        """Those of targets that are sequences; zeros for others, which have no steps."""
        if isinstance(self.targets, np.ndarray):
            return np.zeros_like(self._lengths)
        return np.array([len(sequence) for sequence in self.targets], np.int32)

    @functools.cached_property
    def _buckets(self) -> tuple["_Bucket", ...]:
        """Shortest first."""
        steps = np.maximum(1, np.maximum(self._lengths, self._target_lengths))
        longest = least_padded(steps, self.num_buckets)
        bucket = np.searchsorted(longest, steps)
        lengths = np.maximum(1, [self._lengths, self._target_lengths])
        members = [np.flatnonzero(bucket == k) for k in range(len(longest))]
        return tuple(_Bucket(rows, *lengths[:, rows].max(axis=1).tolist()) for rows in members)

    @functools.cached_property
    def _places(self) -> tuple[tuple[int, int], ...]:
        """For each batch of a pass, before they are shuffled, its bucket and the first row in that."""
        return tuple(
            (k, first)
            for k, bucket in enumerate(self._buckets)
            for first in range(0, len(bucket.members), self.batch_size)
        )

    def __len__(self) -> int:
        return len(self._places)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The (B, T) of each bucket's inputs."""
        return tuple((self.batch_size, bucket.steps) for bucket in self._buckets)

    @property
    def padding(self) -> float:
        """The fraction of all steps in a pass that is padding; steps of targets count too, where they are sequences."""
        buckets = [self._buckets[k] for k, _ in self._places]
        steps, own = sum(bucket.steps for bucket in buckets), self._lengths.sum(dtype=np.int64)
        if not isinstance(self.targets, np.ndarray):
            steps += sum(bucket.target_steps for bucket in buckets)
            own += self._target_lengths.sum(dtype=np.int64)
        return 1.0 - int(own) / (steps * self.batch_size)

    def batch(self, position: int) -> SequenceBatch:
        """The batch at a position, any number from 0."""
        epoch, place = divmod(checks.index("position", position, 0), len(self))
        sizes = (len(self), *(len(bucket.members) for bucket in self._buckets))
        batches, *of_rows = orders(sizes, self.seed, epoch)
        number, first = self._places[batches[place]]
        bucket = self._buckets[number]
        rows = bucket.members[of_rows[number][first : first + self.batch_size]]
        filled, weights = fill_up(rows, self.batch_size)
        inputs, own_lengths = pad([self.inputs[row] for row in filled], multiple_of=bucket.steps)
        lengths = None if self._lengths.min() == self._lengths.max() > 0 else own_lengths
        if isinstance(self.targets, np.ndarray):
            return SequenceBatch(inputs, self.targets[filled], lengths, None, weights)
        targets, target_lengths = pad([self.targets[row] for row in filled], multiple_of=bucket.target_steps)
        return SequenceBatch(inputs, targets, lengths, target_lengths, weights)


class _Bucket(NamedTuple):
    """Who is in it, integers, and how many steps its inputs and targets have, at least 1."""

    members: np.ndarray
    steps: int
    target_steps: int


def least_padded(lengths: np.ndarray, num_buckets: int) -> np.ndarray:
    """The longest length of each bucket, at most `num_buckets`, so that all lengths together are padded least.

    The least number of steps that the shortest sequences take in k buckets follows from that in k - 1 buckets:

        steps_k(j) = min_i steps_{k-1}(i) + size_j * (how many have more than size_i and at most size_j)

    Args:
      lengths: integers [N] of at least 1, N at least 1.
      num_buckets: at least 1.

    >>> least_padded(np.array([1, 1, 2, 9, 9, 10]), num_buckets=2).tolist()
    [2, 10]
    """
    sizes, counts = np.unique(lengths, return_counts=True)
    up_to = np.concatenate([[0], np.cumsum(counts)])
    of_one = np.where(np.tri(len(up_to), len(sizes), -1), np.inf, sizes * (up_to[None, 1:] - up_to[:, None]))
    steps, lasts = np.concatenate([[0], of_one[0]]), [np.zeros(len(sizes), int)]
    for _ in range(min(num_buckets, len(sizes)) - 1):
        of_more = steps[:, None] + of_one
        lasts.append(of_more.argmin(axis=0))
        steps = np.concatenate([[0], of_more.min(axis=0)])
    ends = [len(sizes)]
    for last in reversed(lasts):
        ends.append(last[ends[-1] - 1])
    return np.unique(sizes[np.array(ends[:-1]) - 1])


@functools.lru_cache(maxsize=4)
def orders(sizes: tuple[int, ...], seed: int | None, epoch: int) -> tuple[np.ndarray, ...]:
    """An order of each size for one pass, remembered while the pass lasts; as they come where there is no seed."""
    if seed is None:
        return tuple(np.arange(size) for size in sizes)
    generator = np.random.default_rng((seed, epoch))
    return tuple(generator.permutation(size) for size in sizes)


def _count(examples: tuple[Any, ...]) -> int:
    """N, the same for every array of the examples."""
    if "weights" not in getattr(examples, "_fields", ()):
        raise TypeError(
            f"examples must be a NamedTuple with a field weights, as Examples is, got {type(examples).__name__}"
        )
    shapes = {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree.leaves_with_path(examples)}
    counts = {shape[:1] for shape in shapes.values()}
    if len(counts) != 1 or () in counts:
        each = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ValueError(f"examples must be arrays with one leading N, got {each or 'none'}")
    ((count,),) = counts
    if count == 0:
        raise InputError("examples has no rows; expected at least 1")
    return int(count)


def fill_up(rows: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """As many rows as a batch has, the last repeated, and which of them count.

    Real rows again, and no zeros: what a model makes of them is finite.
    """
    missing = batch_size - len(rows)
    weights = np.repeat(np.array([1, 0], np.float32), [len(rows), missing])
    return np.pad(rows, (0, missing), mode="edge"), weights


def _take(examples: BatchT, rows: np.ndarray, batch_size: int) -> BatchT:
    filled, weights = fill_up(rows, batch_size)
    batch: Any = jax.tree.map(lambda leaf: np.asarray(leaf)[filled], examples)
    if batch.weights is not None:
        weights = weights * batch.weights.astype(np.float32)
    taken: BatchT = batch._replace(weights=weights)
    return taken


def _check_ragged(name: str, sequences: Sequence[np.ndarray]) -> None:
    """Arrays that are alike in all but their length."""
    if len(sequences) == 0:
        raise InputError(f"{name} has no sequences; expected at least 1")
    for number, sequence in enumerate(sequences):
        if not isinstance(sequence, np.ndarray) or sequence.ndim == 0:
            raise TypeError(f"{name}[{number}] must be a NumPy array with a leading length, got {sequence!r:.40}")
        checks.shape(f"{name}[{number}]", sequence, ("T", *sequences[0].shape[1:]))
        checks.dtype_among(f"{name}[{number}]", sequence, [sequences[0].dtype])
