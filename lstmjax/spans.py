"""Spans of tags such as B-PER and I-PER, and how many of them were found, as conlleval counts.

A tag is O, outside of all spans, or B, I, E or S and a label after the first hyphen, which may hold more of them, as
in B-creative-work; the label may be missing. Tags may break every scheme: a token goes on with the span of the token
before it where it has I or E, that one has B or I, and both have the same label. Every other token that is not outside
starts a span, whatever its letter. For tags of B, I and O, and of E, I and O, these are the spans that conlleval sees
(https://www.clips.uantwerpen.be/conll2000/chunking/output.html). It has no rule for S, nor for B after E of the same
label; here, spans in IOBES are what they are in IOB2.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax.positions import classes, counted
from lstmjax.types import Array, Float, Int

TAG = re.compile(r"([BIOES])(?:-(.*))?", re.DOTALL)
"""The letter of a tag, and its label."""


class Span(NamedTuple):
    """The tokens from `start` up to and without `end`, and what they are.

    >>> Span("PER", 0, 2).label
    'PER'
    """

    label: str
    start: int
    end: int


class SpanScore(NamedTuple):
    """How many spans were predicted, how many there truly are, and how many of the predicted ones are right.

    >>> score = SpanScore(right=1, predicted=2, true=4)
    >>> score.precision, score.recall, round(score.f1, 4)
    (0.5, 0.25, 0.3333)
    """

    right: int
    predicted: int
    true: int

    @property
    def precision(self) -> float:
        """How many of the predicted spans are right, in [0, 1]; 0 where none was predicted."""
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """How many of the true spans were found, in [0, 1]; 0 where there is none."""
        return self.right / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """`2 / (1 / precision + 1 / recall)`, in [0, 1]; 0 where no span is right."""
        return 2 * self.right / (self.predicted + self.true) if self.right else 0.0


class SpanScores(NamedTuple):
    """The score of all spans together, and that of each label, in order of the labels.

    >>> SpanScores(SpanScore(1, 1, 1), {"PER": SpanScore(1, 1, 1)}).by_label["PER"].f1
    1.0
    """

    overall: SpanScore
    by_label: dict[str, SpanScore]


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans of a sentence by the rule of this module, from left to right.

    Args:
      tags: those of T tokens; T may be 0.

    Raises:
      ValueError: a tag that is no span's, such as NOUN.

    >>> spans(["B-PER", "I-PER", "O", "I-LOC", "I-PER"])
    [Span(label='PER', start=0, end=2), Span(label='LOC', start=3, end=4), Span(label='PER', start=4, end=5)]
    """
    parts = [parts_of(tag) for tag in tags]
    cuts = [at for at in range(len(parts)) if at == 0 or not goes_on(parts[at - 1], parts[at])]
    bounds = itertools.pairwise([*cuts, len(parts)])
    return [Span(parts[start][1], start, end) for start, end in bounds if parts[start][0] != "O"]


def scheme_of(sentences: Iterable[Sequence[str]]) -> Literal["BIO", "IOB1", "IOBES", "mixed"] | None:
    """The scheme by which all sentences mark their spans.

    Args:
      sentences: the tags of each.

    Returns:
      "BIO" (also called IOB2): each span starts with B and goes on with I. "IOBES": it starts with B, goes on with I
      and ends with E, or is one S. "IOB1": it has I alone, but B at its start where it follows a span of the same
      label. "mixed": another scheme, or sentences that break these. None: tags that are no spans', or O alone.

    Source: Tjong Kim Sang and Veenstra, Representing text chunks (1999).

    >>> scheme_of([["B-PER", "I-PER", "O"]]), scheme_of([["I-PER", "O"]]), scheme_of([["DET", "NOUN"]])
    ('BIO', 'IOB1', None)
    """
    steps = {step for tags in sentences for step in itertools.pairwise(["O", *tags, "O"])}
    names = {tag for step in steps for tag in step}
    if not all(map(TAG.fullmatch, names)) or all(parts_of(tag)[0] == "O" for tag in names):
        return None
    letters = {parts_of(tag)[0] for tag in names}
    joints = [(parts_of(before), parts_of(after)) for before, after in steps]
    has_only_bio = letters <= set("BIO")
    if has_only_bio and all(goes_on(*joint) for joint in joints if joint[1][0] == "I"):
        return "BIO"
    if has_only_bio and all(before[0] in "BI" and before[1] == b[1] for before, b in joints if b[0] == "B"):
        return "IOB1"
    if all(goes_on(*joint) for joint in joints if joint[0][0] in "BI" or joint[1][0] in "IE"):
        return "IOBES"
    return "mixed"


def span_scores(true: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> SpanScores:
    """How many spans were found: a predicted one is right where a true one has its label, start and end.

    Args:
      true: the tags of each sentence.
      predicted: as many for each.

    Raises:
      ValueError: another number of sentences or of tags in one of them, or a tag that is no span's.

    >>> scores = span_scores([["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "O", "B-PER"]])
    >>> scores.overall, scores.by_label["PER"].precision
    (SpanScore(right=1, predicted=2, true=2), 0.5)
    """
    counts: dict[str, Counter[str]] = {part: Counter() for part in SpanScore._fields}
    for place, (truth, guess) in enumerate(zip(true, predicted, strict=True)):
        if len(truth) != len(guess):
            raise ValueError(f"predicted must have {len(truth)} tags in sentence {place}, got {len(guess)}")
        there, found = set(spans(truth)), set(spans(guess))
        for part, some in zip(SpanScore._fields, (there & found, found, there), strict=True):
            counts[part].update(span.label for span in some)
    labels = sorted(counts["true"].keys() | counts["predicted"].keys())
    by_label = {label: SpanScore(*(counts[part][label] for part in SpanScore._fields)) for label in labels}
    return SpanScores(SpanScore(*(counts[part].total() for part in SpanScore._fields)), by_label)


def span_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels of the spans that tags mark, in order: what the rows of `span_counts` stand for.

    Args:
      labels: the names of K tags.

    Raises:
      ValueError: a tag that is no span's.

    >>> span_labels(["O", "B-PER", "I-PER", "B-LOC"])
    ('LOC', 'PER')
    """
    return tuple(sorted({label for letter, label in map(parts_of, labels) if letter != "O"}))


def span_counts(
    predicted: Int[Array, "B T"],
    targets: Int[Array, "B T"],
    labels: Sequence[str],
    *,
    lengths: Int[Array, "B"] | None = None,
) -> Int[Array, "L 3"]:
    """The counts of `span_scores` for a batch of tags as integers, also inside `jit`; they add up over batches.

    Args:
      predicted: integers in 0..K-1, [B, T].
      targets: the same.
      labels: the names of the K tags.
      lengths: tokens in each sentence, integers in 0..T, [B]; None where all have T. What stands after is not read.

    Returns:
      int32 [L, 3]: for each of `span_labels(labels)`, how many spans are right, predicted, true.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit, a tag that is no span's, integers outside 0..K-1 (seen
        outside `jit` only).

    >>> labels = ["O", "B-PER", "I-PER"]
    >>> span_counts(jnp.array([[1, 2, 0, 1]]), jnp.array([[1, 2, 0, 0]]), labels).tolist()
    [[1, 2, 1]]
    """
    shape = np.shape(targets)
    if len(shape) != 2:
        raise ValueError(f"targets must have shape [B, T], got {list(shape)}")
    valid = counted(shape, lengths, None, None)
    starts, ends, kinds = zip(
        *(
            _spans_of_ids(classes(name, tags, shape, len(labels), valid), labels, valid)
            for name, tags in (("predicted", predicted), ("targets", targets))
        ),
        strict=True,
    )
    is_right = starts[0] & starts[1] & (ends[0] == ends[1]) & (kinds[0] == kinds[1])
    parts = ((is_right, kinds[0]), (starts[0], kinds[0]), (starts[1], kinds[1]))
    empty = jnp.zeros(len(span_labels(labels)), jnp.int32)
    return jnp.stack([empty.at[kind].add(some.astype(jnp.int32)) for some, kind in parts], axis=1)


def f1_of(counts: Int[Array, "*rest 3"]) -> Float[Array, ""]:
    """F1 over all spans of `span_counts`, in [0, 1]; 0 where no span is right.

    Args:
      counts: right, predicted and true spans, [..., 3], added up over all but the last axis.

    Returns:
      a scalar, float32.

    >>> round(float(f1_of(jnp.array([[1, 2, 1], [0, 0, 0]]))), 4)
    0.6667
    """
    totals: Array = jnp.asarray(counts).reshape(-1, 3).sum(axis=0).astype(jnp.float32)
    return 2 * totals[0] / jnp.maximum(totals[1] + totals[2], 1)


def parts_of(tag: str) -> tuple[str, str]:
    """The letter and the label of a tag.

    Raises:
      ValueError: it is no span's, such as NOUN.
    """
    found = TAG.fullmatch(tag)
    if not found:
        raise ValueError(f"a tag must be O, or B, I, E or S and a label, as B-PER, got {tag!r:.60}")
    return found[1], found[2] or ""


def goes_on(before: tuple[str, str], after: tuple[str, str]) -> bool:
    """Whether a token belongs to the span of the one before it."""
    return before[0] in "BI" and after[0] in "IE" and before[1] == after[1]


def _spans_of_ids(tags: Array, labels: Sequence[str], valid: Array | None) -> tuple[Array, Array, Array]:
    """At each token [B, T]: whether a span starts there, where one would end that did, and the place of its label."""
    parts = [parts_of(label) for label in labels]
    order = span_labels(labels)
    kind = jnp.array([order.index(label) if letter != "O" else 0 for letter, label in parts], jnp.int32)[tags]
    is_open, is_more, is_inside = (
        jnp.array([letter in some for letter, _ in parts])[tags] for some in ("BI", "IE", "BIES")
    )
    if valid is not None:
        is_more, is_inside = is_more & valid, is_inside & valid
    goes_on = is_open[:, :-1] & is_more[:, 1:] & (kind[:, :-1] == kind[:, 1:])
    goes_on = jnp.pad(goes_on, ((0, 0), (1, 1)))  # neither before the first token nor after the last
    cuts = jnp.where(goes_on, tags.shape[1], jnp.arange(tags.shape[1] + 1))
    ends = jax.lax.cummin(cuts, axis=1, reverse=True)[:, 1:]
    return is_inside & ~goes_on[:, :-1], ends, kind
