"""Tokens as numbers: who has which symbol, long words, the file; and buckets that leave the least padding."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.data import Bucketed
from lstmjax.data.source import least_padded
from lstmjax.data.tokens import TokenVocabulary, load_tokens, save_tokens
from lstmjax.errors import InputError

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
sentences = st.lists(st.lists(words, min_size=1, max_size=5), max_size=5)


def test_a_word_is_looked_up_as_written_then_in_lower_case():
    vocabulary = TokenVocabulary(("May", "may", "us"), ("a",))
    said = vocabulary.ids(("May", "may", "MAY", "US", "Us", "usa", ""))
    assert said.tolist() == [2, 3, 3, 4, 4, 1, 1]
    assert said.dtype == np.int32
    assert TokenVocabulary(("US",), ()).ids(("us", "Us", "US")).tolist() == [1, 1, 2]


def test_the_most_frequent_come_first_and_rare_words_have_no_symbol():
    text = [("b", "a", "c"), ("c", "b"), ("c",)]
    assert TokenVocabulary.of(text).words == ("c", "b", "a")
    rare = TokenVocabulary.of(text, min_count=2)
    assert (rare.words, rare.num_words) == (("c", "b"), 4)
    assert rare.characters == ("c", "b", "a")  # of the rare words too
    assert rare.num_characters == 5
    assert TokenVocabulary.of([("aab",), ("bb", "aab")]).characters == ("a", "b")  # 4 of each
    empty = TokenVocabulary.of([])
    assert (empty.num_words, empty.num_characters, empty.ids(("x",)).tolist()) == (2, 2, [1])


def test_of_a_long_word_the_ends_are_read():
    vocabulary = TokenVocabulary((), tuple("abcdefgh"), longest=4)
    encoded = vocabulary.encode(("abcd", "abcde", "abcxefgh", "ax", ""))
    assert encoded[:, 1:].tolist() == [[2, 3, 4, 5], [2, 3, 5, 6], [2, 3, 8, 9], [2, 1, 0, 0], [0] * 4]
    assert encoded.dtype == np.int32
    assert vocabulary.encode(()).shape == (0, 5)


@given(sentences, st.integers(1, 3), st.sampled_from([2, 4, 10]))
def test_every_token_is_encoded_by_itself(text, min_count, longest):
    vocabulary = TokenVocabulary.of(text, min_count, longest)
    for sentence in text:
        encoded = vocabulary.encode(sentence)
        assert encoded.shape == (len(sentence), 1 + longest)
        np.testing.assert_array_equal(encoded, np.concatenate([vocabulary.encode((token,)) for token in sentence]))
        np.testing.assert_array_equal((encoded[:, 1:] > 0).sum(axis=1), [min(len(t), longest) for t in sentence])
        for token, (symbol, *characters) in zip(sentence, encoded.tolist(), strict=True):
            assert symbol == 1 or vocabulary.words[symbol - 2] in (token, token.lower())
            if len(token) <= longest:
                assert "".join(vocabulary.characters[c - 2] for c in characters if c) == token


@given(sentences)
def test_a_vocabulary_is_read_back(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.json"
    vocabulary = TokenVocabulary.of([*text, ("naïve", "\N{GRINNING FACE}")] if text else text, longest=6)
    save_tokens(vocabulary, path)
    assert load_tokens(path) == vocabulary


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "is not a readable vocabulary of tokens"),
        (b"{", "is not a readable vocabulary of tokens"),
        (b"\xff\xfe", "is not a readable vocabulary of tokens"),
        (b"[" * 100_000, "is not a readable vocabulary of tokens"),
        (b'{"words": ["a", "a"], "characters": [], "longest": 4}', "words must be distinct"),
        (b'{"words": [], "characters": ["a"], "longest": 3}', "longest must be even, got 3"),
        (b'{"words": [], "characters": ["ab"], "longest": 4}', "characters must be one character each"),
        (b'{"words": [], "characters": ["a"], "longest": true}', "vocabulary of tokens"),
        (b'{"words": [], "characters": [1], "longest": 4}', "does not hold a vocabulary of tokens"),
        (b'{"words": [], "longest": 4}', "does not hold a vocabulary of tokens"),
        (b'{"words": "ab", "characters": "ab", "longest": 4}', "does not hold a vocabulary of tokens"),
        (b"[]", "does not hold a vocabulary of tokens"),
    ],
)
def test_what_is_no_vocabulary(content, sentence, tmp_path):
    path = tmp_path / "vocabulary.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        load_tokens(path)


def test_what_makes_no_vocabulary():
    for fields, error, sentence in (
        ((("a", "a"), ()), ValueError, "words must be distinct"),
        (((), ("a", "a")), ValueError, "characters must be distinct"),
        (((), (), 3), ValueError, "longest must be even, got 3"),
        (((), (), 0), ValueError, "longest must be at least 2, got 0"),
        (((), (), 4.0), TypeError, "longest must be a whole number"),
    ):
        with pytest.raises(error, match=sentence):
            TokenVocabulary(*fields)
    with pytest.raises(ValueError, match="min_count must be at least 1, got 0"):
        TokenVocabulary.of([], 0)


def padded(lengths, longest):
    """The steps that lengths take in buckets of these longest ones."""
    return sum(min(size for size in longest if size >= length) for length in lengths)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=15), st.integers(1, 8))
def test_no_other_buckets_leave_less_padding(lengths, num_buckets):
    longest = least_padded(np.array(lengths), num_buckets).tolist()
    assert longest == sorted(set(longest))
    assert set(longest) <= set(lengths)
    assert longest[-1] == max(lengths)
    assert len(longest) <= num_buckets
    others = sorted(set(lengths) - {max(lengths)})
    choices = itertools.chain.from_iterable(
        itertools.combinations(others, count) for count in range(min(num_buckets, len(others) + 1))
    )
    assert padded(lengths, longest) == min(padded(lengths, (*choice, max(lengths))) for choice in choices)


def test_buckets_for_every_length_leave_no_padding():
    lengths = np.random.default_rng(0).integers(1, 300, 5000)
    assert least_padded(lengths, 500).tolist() == np.unique(lengths).tolist()
    assert least_padded(lengths, 1).tolist() == [lengths.max()]
    steps = [padded(lengths, least_padded(lengths, count)) for count in range(1, 12)]
    assert steps == sorted(steps, reverse=True)
    source = Bucketed([np.zeros(n) for n in lengths], lengths, 10, 11, seed=0)
    assert len(source.shapes) == 11
