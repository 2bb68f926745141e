"""Sources: every example once a pass, batches that follow from their position alone, few shapes, batches ahead."""

import threading
import traceback
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax import data
from lstmjax.errors import InputError


def examples(count):
    return data.Examples(np.arange(count), np.arange(count) * 10)


def one_pass(source, epoch=0):
    return [source.batch(epoch * len(source) + place) for place in range(len(source))]


def counted(batches, field="inputs"):
    """The examples that count, in the order they come."""
    return [value for batch in batches for value in getattr(batch, field)[batch.weights > 0].tolist()]


@given(st.integers(1, 20), st.integers(1, 7), st.integers(0, 3))
def test_a_pass_has_every_example_once(count, batch_size, epoch):
    ordered = one_pass(data.Ordered(examples(count), batch_size), epoch)
    shuffled = one_pass(data.Shuffled(examples(count), batch_size, seed=1), epoch)
    assert counted(ordered) == list(range(count))
    assert sorted(counted(shuffled)) == list(range(count))
    assert {batch.inputs.shape for batch in ordered + shuffled} == {(batch_size,)}
    assert all((batch.targets == 10 * batch.inputs).all() for batch in ordered + shuffled)
    assert {batch.weights.dtype for batch in ordered + shuffled} == {np.dtype(np.float32)}


def test_every_pass_and_seed_has_an_order_of_its_own():
    source, other = (data.Shuffled(examples(20), 5, seed=seed) for seed in (0, 1))
    orders = {tuple(counted(one_pass(s, epoch))) for s in (source, other) for epoch in (0, 1, 2)}
    assert len(orders) == 6


def test_a_batch_follows_from_its_position_alone():
    first, again = (data.Shuffled(examples(11), 3, seed=5) for _ in range(2))
    walked = [first.batch(position) for position in range(20)]
    for position in (17, 3, 0, 19):
        for a, b in zip(again.batch(position), walked[position], strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_last_rows_can_be_left_out():
    source = data.Shuffled(examples(11), 3, seed=0, drop_last=True)
    assert len(source) == 3
    assert all(batch.weights.tolist() == [1, 1, 1] for batch in one_pass(source))
    assert {frozenset(counted(one_pass(source, epoch))) for epoch in range(5)} != {frozenset(counted(one_pass(source)))}


class Own(NamedTuple):
    pair: dict
    nothing: None
    weights: np.ndarray


def test_examples_may_be_any_named_tuple_with_weights():
    own = Own({"a": np.arange(6).reshape(3, 2)}, None, np.array([2, 3, 4], np.int64))
    batch = data.Ordered(own, 2).batch(1)
    assert isinstance(batch, Own)
    assert batch.pair["a"].tolist() == [[4, 5], [4, 5]]
    assert batch.weights.tolist() == [4.0, 0.0]


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (
            lambda: data.Ordered((np.ones(3),), 2),
            TypeError,
            "NamedTuple with a field weights, .* got tuple",
        ),
        (
            lambda: data.Ordered(data.Examples(np.ones((3, 1)), np.ones(4)), 2),
            ValueError,
            r"one leading N, got \.inputs \[3, 1\], \.targets \[4\]",
        ),
        (lambda: data.Shuffled(examples(0), 2, 0), InputError, "examples has no rows; expected at least 1"),
        (lambda: data.Shuffled(examples(3), 0, 0), ValueError, "batch_size must be at least 1, got 0"),
        (lambda: data.Shuffled(examples(3), 2, -1), ValueError, "seed must be at least 0, got -1"),
        (lambda: data.Shuffled(examples(3), 2, 0, "no"), TypeError, "drop_last must be True or False, got 'no'"),
        (lambda: data.Shuffled(examples(3), 4, 0, True), InputError, "3 examples fill no batch of 4"),
        (lambda: data.Shuffled(examples(3), 2, 0).batch(-1), ValueError, "position must be at least 0, got -1"),
        (lambda: data.Bucketed([], np.ones(0), 2, 1, 0), InputError, "inputs has no sequences; expected at least 1"),
        (lambda: data.Bucketed([np.ones(2)], np.ones(2), 2, 1, 0), ValueError, "as many as inputs, 1, got 2"),
        (lambda: data.Bucketed([[1, 2]], np.ones(1), 2, 1, 0), TypeError, r"inputs\[0\] must be a NumPy array"),
        (
            lambda: data.Bucketed([np.ones((2, 3)), np.ones((2, 4))], np.ones(2), 2, 1, 0),
            ValueError,
            r"inputs\[1\] must have shape \[T, 3\], got \[2, 4\]",
        ),
    ],
)
def test_what_makes_no_source(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


def sequences(lengths):
    """Sequence n holds n + 1 at every step, so padding shows."""
    return [np.full((length, 2), n + 1, np.int32) for n, length in enumerate(lengths)]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=25), st.integers(1, 5), st.integers(1, 6), st.integers(0, 2))
def test_buckets_give_every_sequence_once_in_few_shapes(lengths, batch_size, num_buckets, epoch):
    source = data.Bucketed(sequences(lengths), np.arange(len(lengths)), batch_size, num_buckets, seed=0)
    batches = one_pass(source, epoch)
    assert sorted(counted(batches, "targets")) == list(range(len(lengths)))
    assert len(source.shapes) <= num_buckets
    assert {batch.inputs.shape[:2] for batch in batches} == set(source.shapes)
    are_equal = len(set(lengths)) == 1 and lengths[0] > 0
    for batch in batches:
        own = np.array(lengths)[batch.targets]
        assert (batch.lengths is None) == are_equal
        if not are_equal:
            np.testing.assert_array_equal(batch.lengths, own)
        inside = np.arange(batch.inputs.shape[1]) < own[:, None]
        np.testing.assert_array_equal(batch.inputs[..., 0], np.where(inside, batch.targets[:, None] + 1, 0))
    steps = sum(batch.inputs.shape[0] * batch.inputs.shape[1] for batch in batches)
    np.testing.assert_allclose(source.padding, 1 - sum(lengths) / steps, atol=1e-12)


def test_buckets_save_padding_and_come_mixed():
    lengths = np.random.default_rng(0).integers(1, 100, 400)
    one, many = (data.Bucketed(sequences(lengths), lengths, 10, count, seed=0) for count in (1, 8))
    assert many.padding < 0.2 < 0.4 < one.padding
    steps = [[batch.inputs.shape[1] for batch in one_pass(many, epoch)] for epoch in (0, 1)]
    assert steps[0] != sorted(steps[0])
    assert steps[0] != steps[1]


def test_targets_with_lengths_of_their_own():
    targets = [np.full(n, 7) for n in (1, 3, 2)]
    batch = data.Bucketed(sequences([4, 5, 6]), targets, 4, 1, seed=None).batch(0)
    assert batch.targets.tolist() == [[7, 0, 0], [7, 7, 7], [7, 7, 0], [7, 7, 0]]
    assert batch.target_lengths.tolist() == [1, 3, 2, 2]
    assert batch.weights.tolist() == [1, 1, 1, 0]


pairs_of_lengths = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=25)


@given(pairs_of_lengths, st.integers(1, 5), st.integers(1, 4), st.integers(0, 2))
def test_pairs_of_sequences_come_once_in_few_shapes(lengths, batch_size, num_buckets, epoch):
    ours, theirs = (np.array(side) for side in zip(*lengths, strict=True))
    source = data.Bucketed(sequences(ours), [-s[:, 0] for s in sequences(theirs)], batch_size, num_buckets, seed=0)
    batches = one_pass(source, epoch)
    shapes = {(batch.inputs.shape[1], batch.targets.shape[1]) for batch in batches}
    assert len(shapes) <= len(source.shapes) <= num_buckets
    assert {(batch_size, steps) for steps, _ in shapes} == set(source.shapes)
    seen = []
    for batch in batches:
        own = ours[:0] if batch.lengths is None else batch.lengths
        for row in np.flatnonzero(batch.weights):
            length = own[row] if len(own) else ours[0]
            number = batch.inputs[row].max() or -batch.targets[row].min()  # 0 where both sides are empty
            seen.append((number, length, batch.target_lengths[row]))
            assert batch.inputs[row, :, 0].tolist() == [number] * length + [0] * (batch.inputs.shape[1] - length)
            behind = batch.targets.shape[1] - seen[-1][2]
            assert batch.targets[row].tolist() == [-number] * seen[-1][2] + [0] * behind
    numbers = [n * ((a, b) != (0, 0)) for n, (a, b) in enumerate(lengths, 1)]
    assert sorted(seen) == sorted((n, a, b) for n, (a, b) in zip(numbers, lengths, strict=True))
    steps = sum(batch.inputs[..., 0].size + batch.targets.size for batch in batches)
    np.testing.assert_allclose(source.padding, 1 - (ours.sum() + theirs.sum()) / steps, atol=1e-12)


def test_pairs_are_put_together_by_the_longer_side():
    lengths = [(1, 9), (2, 2), (9, 1), (2, 1)]
    inputs, targets = ([np.ones(n) for n in side] for side in zip(*lengths, strict=True))
    source = data.Bucketed(inputs, targets, 2, 2, seed=None)
    batches = one_pass(source, 0)
    assert [(b.inputs.shape, b.targets.shape) for b in batches] == [((2, 2), (2, 2)), ((2, 9), (2, 9))]
    assert [b.lengths.tolist() for b in batches] == [[2, 2], [1, 9]]
    narrow = data.Bucketed([np.ones(2)] * 3, [np.ones(n) for n in (7, 1, 6)], 2, 2, seed=None)
    assert narrow.shapes == ((2, 2), (2, 2))
    assert [narrow.batch(k).targets.shape for k in (0, 1)] == [(2, 1), (2, 7)]


def test_a_target_a_step_changes_no_bucket():
    lengths = np.random.default_rng(0).integers(0, 20, 60)
    alone = data.Bucketed(sequences(lengths), np.arange(60), 4, 5, seed=0)
    both = data.Bucketed(sequences(lengths), sequences(lengths), 4, 5, seed=0)
    assert (alone.shapes, alone.padding) == (both.shapes, both.padding)
    for position in range(len(alone)):
        np.testing.assert_array_equal(alone.batch(position).inputs, both.batch(position).inputs)
        np.testing.assert_array_equal(both.batch(position).inputs, both.batch(position).targets)


def test_without_a_seed_every_pass_is_the_same():
    source = data.Bucketed(sequences([3, 1, 2]), np.arange(3), 1, 3, seed=None)
    assert [counted(one_pass(source, epoch), "targets") for epoch in (0, 1)] == [[1, 2, 0], [1, 2, 0]]


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("count", [1, 3])
def test_batches_ahead_are_the_same_batches(count):
    source = data.Shuffled(examples(7), 2, seed=0)
    with data.prefetch(source, start=3, count=count) as batches:
        for position in range(3, 12):
            np.testing.assert_array_equal(next(batches).inputs, source.batch(position).inputs)
        assert len(threads()) == 1
    assert threads() == []


class Noted:
    """A source that notes who asked for what, and fails at position 4."""

    def __init__(self):
        self.asked, self.fourth = [], threading.Event()

    def __len__(self):
        return 10

    def batch(self, position):
        self.asked.append((position, threading.current_thread() is threading.main_thread()))
        if position == 3:
            self.fourth.set()
        if position == 4:
            raise RuntimeError("no batch four")
        return data.Examples(np.array([position]), np.array([0]))


def test_batches_are_prepared_while_one_is_used():
    source = Noted()
    with data.prefetch(source, count=3) as batches:
        assert next(batches).inputs.tolist() == [0]
        assert source.fourth.wait(timeout=60)
    assert source.asked[:4] == [(position, False) for position in range(4)]
    assert len(source.asked) == 4


def test_what_goes_wrong_in_the_background_is_raised_where_the_batch_is_asked_for():
    with data.prefetch(Noted()) as batches:
        assert [next(batches).inputs.item() for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(RuntimeError, match="no batch four") as caught:
            next(batches)
    assert "in batch" in "".join(traceback.format_tb(caught.tb))
    assert threads() == []


def interrupted(source):
    with data.prefetch(source) as batches:
        next(batches)
        raise KeyboardInterrupt


def test_an_error_of_the_consumer_ends_the_thread():
    with pytest.raises(KeyboardInterrupt):
        interrupted(Noted())
    assert threads() == []


class Outside:
    """An iterator with grain's protocol, from 0 up to an end."""

    def __init__(self, end=100, kind="json"):
        self.at, self.end, self.kind = 0, end, kind

    def __next__(self):
        if self.at == self.end:
            raise StopIteration
        self.at += 1
        return data.Examples(np.array([self.at - 1]), np.array([0]))

    def get_state(self):
        return str(self.at).encode() if self.kind == "bytes" else {"at": [np.int64(self.at)], "end": None}

    def set_state(self, state):
        self.at = int(state) if self.kind == "bytes" else state["at"][0]


@pytest.mark.parametrize("kind", ["bytes", "json"])
def test_an_iterator_goes_on_behind_the_batch_used_last_not_the_one_read_ahead(kind):
    source = data.IteratorSource(Outside(kind=kind), batches=5)
    assert len(source) == 5
    with data.prefetch(source, count=3) as batches:
        before = batches.state
        assert [next(batches).inputs.item() for _ in range(4)] == [0, 1, 2, 3]
        saved = batches.state
    assert source.batch(4).inputs.item() == 4
    again = data.IteratorSource(Outside(kind=kind), batches=5)
    again.restore(saved)
    with data.prefetch(again, start=4) as batches:
        assert [next(batches).inputs.item() for _ in range(2)] == [4, 5]
    again.restore(before)
    assert again.batch(0).inputs.item() == 0


def test_pure_sources_have_no_state():
    with data.prefetch(data.Ordered(examples(3), 2)) as batches:
        next(batches)
        assert batches.state is None


def test_what_an_iterator_cannot_give():
    source = data.IteratorSource(Outside(end=1), batches=1)
    with pytest.raises(ValueError, match="position must be 0, the only one an iterator can give, got 1"):
        source.batch(1)
    source.batch(0)
    with pytest.raises(InputError, match="the iterator ended after 1 batches; expected one without end"):
        source.batch(1)
    for state in ("", "[]", '{"position": "1", "iterator": {}}'):
        with pytest.raises(InputError, match="is not the state of an iterator"):
            source.restore(state)
    with pytest.raises(TypeError, match="iterator must have get_state, set_state, which list_iterator has not"):
        data.IteratorSource(iter([]), 1)


def test_grain_goes_on_where_it_was():
    grain = pytest.importorskip("grain.python")

    def source():
        rows = grain.MapDataset.range(10).shuffle(seed=0).repeat().batch(3)
        batches = rows.map(lambda inputs: data.Examples(inputs, inputs)).to_iter_dataset(
            grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
        )
        return data.IteratorSource(iter(batches), batches=3)

    whole = source()
    expected = [whole.batch(position).inputs.tolist() for position in range(6)]
    with data.prefetch(source()) as batches:
        assert [next(batches).inputs.tolist() for _ in range(3)] == expected[:3]
        saved = batches.state
    resumed = source()
    resumed.restore(saved)
    assert [resumed.batch(position).inputs.tolist() for position in range(3, 6)] == expected[3:]
