"""Text: vocabularies there and back, files that are no text, and streams that miss and repeat nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.data import text
from lstmjax.data.lines import LineVocabulary
from lstmjax.data.varied_streams import VariedStreams
from lstmjax.errors import InputError


@given(st.text())
def test_characters_go_there_and_back(sample):
    vocabulary = text.CharVocabulary.of(sample)
    ids = vocabulary.encode(sample)
    assert vocabulary.decode(ids) == sample
    assert ids.dtype == np.int32
    assert len(ids) == len(sample)
    assert (ids > 0).all()
    assert (ids < len(vocabulary)).all()


@given(st.text())
def test_bytes_go_there_and_back(sample):
    ids = text.ByteVocabulary().encode(sample)
    assert text.ByteVocabulary().decode(ids) == sample
    assert ids.tolist() == list(sample.encode())


@given(st.lists(st.lists(st.sampled_from(["to", "be", "<unk>", "é"]))))
def test_words_go_there_and_back_with_blanks_as_one(lines):
    sample = "\n".join(" ".join(line) for line in lines) + "\n"
    vocabulary = LineVocabulary.of(sample)
    ids = vocabulary.encode(sample)
    assert [line.split() for line in vocabulary.decode(ids).split("\n")[:-1]] == (lines or [[]])
    assert np.sum(ids == 0) == sample.count("\n")
    assert "".join(vocabulary.decode(ids[k : k + 1]) for k in range(len(ids))) == vocabulary.decode(ids)


def test_rare_words_are_unknown_ones():
    vocabulary = LineVocabulary.of("a a b b c <unk> <eos>", min_count=2)
    assert vocabulary.words == ("a", "b")
    assert vocabulary.encode("a c\r\n<unk>").tolist() == [2, 1, 0, 1]
    assert vocabulary.unknown("a c d d <unk>\n") == "c d"
    for words, sentence in ((("a", "a"), "distinct"), (("<unk>",), "without <eos> and <unk>"), (("a b",), "no blanks")):
        with pytest.raises(ValueError, match=sentence):
            LineVocabulary(words)


def test_unknown_characters_share_an_id():
    vocabulary = text.CharVocabulary.of("abc")
    assert vocabulary.encode("a€b😀").tolist() == [1, 0, 2, 0]
    assert vocabulary.decode(np.array([1, 0])) == "a\N{REPLACEMENT CHARACTER}"
    assert vocabulary.unknown("a€b😀") == "€😀"


def test_bytes_that_are_no_text_decode_to_a_mark():
    assert text.ByteVocabulary().decode(np.array([97, 255])) == "a\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "vocabulary", [text.CharVocabulary.of('a"\n€'), text.ByteVocabulary(), LineVocabulary.of("to be\nor ")]
)
def test_vocabularies_survive_their_file(tmp_path, vocabulary):
    text.save_vocabulary(vocabulary, tmp_path / "v.json")
    assert text.load_vocabulary(tmp_path / "v.json") == vocabulary


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "words"}', '{"kind": "characters", "symbols": "ba"}'])
def test_a_file_that_is_no_vocabulary(tmp_path, content):
    (tmp_path / "v.json").write_text(content)
    with pytest.raises(InputError, match=r"v\.json is not a"):
        text.load_vocabulary(tmp_path / "v.json")


def test_symbols_must_be_in_order():
    with pytest.raises(ValueError, match="distinct characters in ascending order"):
        text.CharVocabulary("ba")


def test_ids_outside_the_vocabulary():
    with pytest.raises(ValueError, match=r"ids must lie in \[0, 3\], got values from 1 to 4"):
        text.CharVocabulary.of("abc").decode(np.array([1, 4]))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty; expected UTF-8 text"),
        (b"ab\0c", "is binary, with a zero byte at offset 2; expected UTF-8 text"),
        (b"abc\xff", "is not UTF-8 text: invalid start byte at byte 3, line 1"),
        (b"\xef\xbb\xbfa\r\nb\n\xff", "is not UTF-8 text: invalid start byte at byte 5, line 3"),
    ],
)
def test_files_that_are_no_text(tmp_path, content, sentence):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        text.read_text(tmp_path / "file")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="nothing can't be read: No such file"):
        text.read_text(tmp_path / "nothing")
    with pytest.raises(InputError, match="can't be read: Is a directory"):
        text.read_text(tmp_path)


def test_line_ends_stay_and_a_byte_order_mark_goes(tmp_path):
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfa\r\nb\n")
    assert text.read_text(tmp_path / "file") == "a\r\nb\n"


def test_split_is_by_position():
    train, validation = text.split("x" * 1115394, 0.1)
    assert (len(train), len(validation)) == (1003854, 111540)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 40))
def test_streams_are_contiguous(batch_size, chunk_length, extra):
    ids = np.arange(batch_size * chunk_length + 1 + extra, dtype=np.int32)
    streams = text.Streams(ids, batch_size, chunk_length)
    batches = [streams.batch(position) for position in range(len(streams))]
    rows = np.concatenate([batch.inputs for batch in batches], axis=1)
    np.testing.assert_array_equal(np.diff(rows, axis=1), 1)
    np.testing.assert_array_equal(np.concatenate([batch.targets for batch in batches], axis=1), rows + 1)
    assert len(np.unique(rows)) == rows.size > len(ids) - 1 - batch_size * (chunk_length + 1)
    starts = [batch.is_start.tolist() for batch in batches]
    assert starts == [[True] * batch_size] + [[False] * batch_size] * (len(batches) - 1)


def test_passes_follow_one_another():
    streams = text.Streams(np.arange(25, dtype=np.int32), 2, 4)
    assert len(streams) == 3
    np.testing.assert_array_equal(streams.batch(4).inputs, streams.batch(1).inputs)
    assert streams.batch(3).is_start.tolist() == [True, True]


@pytest.mark.parametrize(
    ("ids", "error"), [([1, 2, 3], TypeError), (np.ones(9), TypeError), (np.ones((3, 3), int), ValueError)]
)
def test_ids_that_are_none(ids, error):
    with pytest.raises(error, match="ids must"):
        text.Streams(ids, 1, 2)


@given(st.integers(1, 3), st.integers(10, 80), st.integers(1, 40), st.integers(0, 99), st.integers(0, 9))
def test_varied_streams_read_all_of_each_stream(batch_size, chunk_length, chunks, extra, seed):
    ids = np.arange(batch_size * chunk_length * chunks + 1 + extra, dtype=np.int32)
    streams = VariedStreams(ids, batch_size, chunk_length, seed)
    for number in (0, 3):
        first = number * len(streams)
        batches = [streams.batch(position) for position in range(first, first + len(streams))]
        rows = [np.concatenate([b.inputs[row][b.mask[row]] for b in batches]) for row in range(batch_size)]
        stream = (len(ids) - 1) // batch_size
        np.testing.assert_array_equal(rows, np.arange(batch_size * stream).reshape(batch_size, stream))
        assert all((b.targets - b.inputs == 1).all() for b in batches)
        lengths = [b.mask[0].sum() for b in batches]
        np.testing.assert_allclose([b.scale[0] for b in batches], np.array(lengths) / chunk_length, rtol=1e-6)
        assert [b.is_start[0] for b in batches] == [True] + [False] * (len(batches) - 1)


def test_varied_lengths_are_as_published():
    streams = VariedStreams(np.arange(200_001), 2, 70, seed=1)
    lengths = np.array([streams.batch(position).mask[0].sum() for position in range(len(streams))])
    halves = lengths[lengths < 52]
    assert 0.03 < len(halves) / len(lengths) < 0.07
    assert abs(halves.mean() - 35) < 2 > abs(lengths[lengths > 52].mean() - 70)
    assert 4 < lengths[lengths > 52].std() < 6
    assert {streams.batch(position).inputs.shape[1] for position in range(len(streams))} == {50, 85}
    assert VariedStreams(np.arange(200_001), 2, 70, seed=2).batch(0).mask[0].sum() != lengths[0]
    assert len({streams.batch(k * len(streams)).mask.sum() for k in range(5)}) > 1


def test_streams_are_not_walked_by_accident():
    with pytest.raises(TypeError, match="not iterable"):
        iter(text.Streams(np.arange(25, dtype=np.int32), 2, 4))


def test_text_shorter_than_a_chunk():
    with pytest.raises(InputError, match=r"has 8 symbols, and batch_size 2 times chunk_length 4 needs at least 9"):
        text.Streams(np.arange(8, dtype=np.int32), 2, 4)


def read(reading):
    """What a pass reads: all batches of a kind side by side."""
    batches = [reading.batch(position) for position in range(len(reading))]
    assert all(batch.scale is None for batch in batches)
    return text.Batch(
        *(np.concatenate(parts, axis=-1) for parts in zip(*(batch[:5] for batch in batches), strict=True))
    )


@given(st.integers(2, 60), st.integers(1, 7), st.integers(0, 9), st.integers(1, 8))
def test_every_prediction_counts_once_after_its_warmup(symbols, rows, warmup, chunk_length):
    whole = read(text.Reading(np.arange(symbols), text.EvaluationPlan(rows, warmup, chunk_length)))
    counted = whole.weights == 1
    assert sorted(whole.inputs[counted].tolist()) == list(range(symbols - 1))
    assert set(np.unique(whole.weights)) <= {0, 1}
    np.testing.assert_array_equal((whole.targets - whole.inputs)[whole.mask], 1)
    assert not (counted & ~whole.mask).any()
    for inputs, mask, own in zip(whole.inputs, whole.mask, counted, strict=True):
        np.testing.assert_array_equal(np.diff(inputs[mask]), 1)  # each row reads on without a gap
        if own.any():
            first = inputs[own][0]
            assert inputs[mask][0] == max(0, first - warmup)


def test_an_exact_reading_is_one_state_from_start_to_end():
    reading = text.Reading(np.arange(2000), text.EXACT)
    batches = [reading.batch(position) for position in range(len(reading))]
    assert [batch.is_start.tolist() for batch in batches] == [[True], [False]]
    assert sum(batch.weights.sum() for batch in batches) == 1999
    np.testing.assert_array_equal(read(reading).inputs[read(reading).mask], np.arange(1999))


def test_a_text_too_short_to_evaluate():
    with pytest.raises(InputError, match="the text to evaluate has 1 symbols; expected at least 2"):
        text.Reading(np.arange(1), text.EXACT)
