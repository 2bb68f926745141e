"""Words: where texts are cut, vocabularies there and back, vectors from elsewhere as they are written."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.data import text
from lstmjax.data.words import TOKENIZERS, WordVocabulary, read_vectors, words
from lstmjax.errors import InputError


def by_comma(sample):
    return sample.split(",")


@pytest.mark.parametrize(
    ("sample", "pieces"),
    [
        ("It's 3.5 or 1,000.", ["it's", "3.5", "or", "1,000", "."]),
        ("wo n't ; (yes)?!", ["wo", "n't", ";", "(", "yes", ")", "?", "!"]),
        ("the 3rd of R2D2_x", ["the", "3rd", "of", "r2d2_x"]),
        ("ÉTÉ\n😀😀 don’t", ["été", "😀", "😀", "don’t"]),  # noqa: RUF001
        ("'quoted' -5", ["'", "quoted", "'", "-", "5"]),
        (" \t", []),
    ],
)
def test_where_texts_are_cut(sample, pieces):
    assert words(sample) == pieces


@given(st.text())
def test_no_character_is_lost_but_blanks(sample):
    assert "".join(words(sample)) == "".join(sample.lower().split())


@given(st.lists(st.text("abc ", max_size=20), max_size=5), st.sampled_from(sorted(TOKENIZERS)))
def test_known_words_go_there_and_back(texts, name):
    tokenize = TOKENIZERS[name]
    vocabulary = WordVocabulary.of(texts, tokenize)
    for sample in texts:
        ids = vocabulary.encode(sample)
        assert vocabulary.decode(ids) == ("" if name == "characters" else " ").join(tokenize(sample))
        assert ids.dtype == np.int32
        assert ((ids >= 2) & (ids < len(vocabulary))).all()
        assert vocabulary.unknown(sample) == ""


def test_the_most_frequent_come_first_and_equals_by_alphabet():
    texts = ["b b a a", "c b d", "e"]
    assert WordVocabulary.of(texts).words == ("b", "a", "c", "d", "e")
    assert WordVocabulary.of(texts, min_count=2).words == ("b", "a")
    assert WordVocabulary.of(texts, max_size=3).words == ("b", "a", "c")
    assert len(WordVocabulary.of(texts, max_size=3)) == 5
    assert len(WordVocabulary.of([])) == 2


def test_unknown_words_share_an_id_and_padding_has_its_own():
    vocabulary = WordVocabulary(("to", "be"))
    assert vocabulary.encode("To be! Or").tolist() == [2, 3, 1, 1]
    assert vocabulary.decode(np.array([0, 3, 1, 2, 0])) == "be \N{REPLACEMENT CHARACTER} to"
    assert vocabulary.unknown("or to be! or") == "! or"
    with pytest.raises(ValueError, match=r"ids must lie in \[0, 3\], got values from 4 to 4"):
        vocabulary.decode(np.array([4]))


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: WordVocabulary(("a", "a")), ValueError, "words must be distinct"),
        (lambda: WordVocabulary(["a"]), TypeError, r"words must be a tuple of texts, got \['a'\]"),
        (lambda: WordVocabulary((1,)), TypeError, r"words must be a tuple of texts, got \(1,\)"),
        (lambda: WordVocabulary((), "words"), TypeError, "tokenize must be a function, got 'words'"),
        (lambda: WordVocabulary.of("to be"), TypeError, "texts must be several texts, got one"),
        (lambda: WordVocabulary.of([], min_count=0), ValueError, "min_count must be at least 1, got 0"),
        (lambda: WordVocabulary.of([], max_size=0), ValueError, "max_size must be at least 1, got 0"),
    ],
)
def test_what_makes_no_vocabulary(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


@pytest.mark.parametrize("tokenize", TOKENIZERS.values(), ids=TOKENIZERS)
def test_tokenizers_with_a_name_survive_the_file(tmp_path, tokenize):
    vocabulary = WordVocabulary(('é"', "a\nb", ""), tokenize)
    text.save_vocabulary(vocabulary, tmp_path / "v.json")
    for loaded in (text.load_vocabulary(tmp_path / "v.json"), text.load_vocabulary(tmp_path / "v.json", tokenize)):
        assert loaded == vocabulary
        assert loaded.tokenize is tokenize


def test_another_function_has_to_be_handed_over(tmp_path):
    path = tmp_path / "v.json"
    vocabulary = WordVocabulary.of(["to be,or not"], by_comma)
    text.save_vocabulary(vocabulary, path)
    assert vocabulary.to_json()["tokenize"] == f"{__name__}:by_comma"
    assert text.load_vocabulary(path, tokenize=by_comma) == vocabulary
    with pytest.raises(InputError, match=r"v\.json can't be used: its words are made by .*:by_comma, which load_voc"):
        text.load_vocabulary(path)


def test_a_function_that_does_not_belong_to_the_file(tmp_path):
    path = tmp_path / "v.json"
    text.save_vocabulary(WordVocabulary(("a",)), path)
    with pytest.raises(InputError, match=r"its words are made by 'words', so tokenize must be None, got .*:by_comma"):
        text.load_vocabulary(path, by_comma)
    text.save_vocabulary(text.ByteVocabulary(), path)
    with pytest.raises(InputError, match=r"v\.json is not a vocabulary: expected kind 'words', as tokenize is given"):
        text.load_vocabulary(path, by_comma)


@pytest.mark.parametrize("known", ['["a", "a"]', "[1]", "[[]]", '{"a": 1}'])
def test_a_file_that_is_no_vocabulary_of_words(tmp_path, known):
    (tmp_path / "v.json").write_text(f'{{"kind": "words", "words": {known}, "tokenize": "words"}}')
    with pytest.raises(InputError, match=r"v\.json is not a"):
        text.load_vocabulary(tmp_path / "v.json")


@pytest.fixture
def vectors(tmp_path):
    """Write a file of vectors and read some."""

    def read(content, wanted=("the", "of"), name="vectors.txt", pack=lambda raw: raw):
        raw = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(pack(raw))
        return read_vectors(tmp_path / name, wanted)

    return read


GLOVE = "the 0.5 -1e-3\nof 1 2\r\n. . 7 8\n"


@pytest.mark.parametrize("content", [GLOVE, "3 2\n" + GLOVE, "3 2\n" + GLOVE.replace("\n", " \n") + "\n"])
def test_vectors_as_they_are_written(vectors, content):
    array, found = vectors(content, ("of", "nowhere", ". .", "the", "of"))
    expected = np.array([[1, 2], [0, 0], [7, 8], [0.5, -1e-3], [1, 2]], np.float32)
    np.testing.assert_array_equal(array, expected, strict=True)
    assert found.tolist() == [True, False, True, True, True]


def test_packed_vectors(vectors):
    for array, found in (vectors(GLOVE, name="vectors.gz", pack=gzip.compress), vectors(GLOVE)):
        assert array.tolist() == [[0.5, np.float32(-1e-3)], [1.0, 2.0]]
        assert found.all()


def test_words_of_all_sorts(vectors):
    wanted = ("é", "\u2028", "\x85", "5", "\u00a0")
    array, found = vectors("é 1\n\u2028 2\n\x85 3\n5 4\n\u00a0 5\né 6\n", wanted)
    assert (array[:, 0].tolist(), found.all()) == ([1, 2, 3, 4, 5], True)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("the 1 2\nof 1\n", r"vectors\.txt, row 2: expected a word and 2 numbers, got 1 after the word"),
        ("the 1 2\nof 1 2 3\n", "row 2: expected a word and 2 numbers, got 3 after the word"),
        ("2 2\nthe 1 2\nof 1\n", "row 3: expected a word and 2 numbers, got 1 after the word"),
        ("the\n", "row 1: expected a word and its numbers, got 0 after the word"),
        ("the 1 2\nof 1 two\n", "row 2, value 2: expected a finite number, got 'two'"),
        ("the 1 nan\n", "row 1, value 2: expected a finite number, got 'nan'"),
        ("the 1e39 1\n", "row 1, value 1: expected a finite number, got '1e39'"),
        (b"the \xff 1\n", "row 1, value 1: expected a finite number, got '\ufffd'"),
        ("3 2\nthe 1 2\n", "has 1 rows of vectors; expected 3, as its first row says"),
        ("a 1 2\n", "has a vector for none of the 2 words asked for"),
        ("", "has a vector for none of the 2 words asked for"),
    ],
)
def test_what_holds_no_vectors(vectors, content, sentence):
    with pytest.raises(InputError, match=sentence):
        vectors(content)


@pytest.mark.parametrize("pack", [lambda raw: raw, lambda raw: gzip.compress(raw)[:-9], lambda raw: b""])
def test_files_that_cannot_be_unpacked(vectors, pack):
    with pytest.raises(InputError, match=r"can't be read|has a vector for none"):
        vectors(GLOVE, name="vectors.gz", pack=pack)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.txt can't be read: No such file or directory"):
        read_vectors(tmp_path / "nothing.txt", ["the"])
