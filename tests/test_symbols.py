"""Symbols of text: what is encoded comes back, subwords are made the same way always, and files say what they hold."""

import builtins
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmjax.data.subwords import Subwords
from lstmjax.data.symbol_pairs import PairVocabulary, load_pair, save_pair
from lstmjax.data.symbols import END, PADDING, SPECIAL, START, UNKNOWN_SYMBOL, Characters, Words
from lstmjax.errors import InputError

texts = st.text(st.characters(codec="utf-8"), max_size=30)
GERMAN = ["ein Hund rennt über die Wiese", "ein Mann läuft, ein Hund rennt", "zwei Hunde rennen"] * 2
SUBWORDS = Subwords.train(GERMAN, 290)
ALL = (SUBWORDS, Words.train(GERMAN), Characters.train(GERMAN))
kinds = pytest.mark.parametrize("vocabulary", ALL, ids=["subwords", "words", "characters"])


def surrounded(ids):
    """With start and end, and padding after."""
    return np.concatenate([[START], ids, [END, PADDING, PADDING]])


@given(texts)
@settings(max_examples=200)
def test_subwords_give_any_text_back(text):
    ids = SUBWORDS.encode(text)
    assert ids.dtype == np.int32
    assert ids.min(initial=4) >= 4
    assert SUBWORDS.decode(ids) == SUBWORDS.decode(surrounded(ids)) == text


@pytest.mark.parametrize(
    "text", ["", " ", "  a  ", "<s></s><pad><unk>", "\r\n\t\0\x0c\u2028", "中文 \N{GRINNING FACE}é", "Ġ"]
)
def test_subwords_know_no_special_text(text):
    assert SUBWORDS.decode(SUBWORDS.encode(text)) == text


@given(st.lists(texts, max_size=4), texts)
@settings(max_examples=50)
def test_words_and_characters_give_back_what_they_know(lines, other):
    words, characters = Words.train(lines), Characters.train(lines)
    for line in lines:
        assert words.decode(surrounded(words.encode(line))) == " ".join(line.split())
        assert characters.decode(surrounded(characters.encode(line))) == line
        assert words.unknown(line) == characters.unknown(line) == ""
    assert words.unknown(other).split() == sorted(set(other.split()) - set(" ".join(lines).split()))
    assert characters.unknown(other) == "".join(sorted(set(other) - set("".join(lines))))
    shown = characters.decode(characters.encode(other))
    assert shown == "".join("\ufffd" if character in characters.unknown(other) else character for character in other)


@kinds
def test_what_all_kinds_have_in_common(vocabulary):
    ids = vocabulary.encode(GERMAN[0])
    assert ids.dtype == np.int32
    assert 4 <= ids.min() <= ids.max() < len(vocabulary)
    assert vocabulary.encode("").tolist() == []
    assert vocabulary.decode(np.array([], np.int32)) == ""
    assert vocabulary.pieces(np.arange(4)) == list(SPECIAL)
    assert vocabulary.decode(np.array([PADDING, UNKNOWN_SYMBOL, START, END])) == "\ufffd"
    assert [vocabulary.decode(np.array([k])) for k in ids] == vocabulary.pieces(ids)
    assert len(set(map(str, vocabulary.pieces(np.arange(len(vocabulary)))))) > len(vocabulary) - 130  # parts of letters
    with pytest.raises(ValueError, match=rf"ids must lie in \[0, {len(vocabulary) - 1}\], got values from -1 to 4"):
        vocabulary.decode(np.array([4, -1]))
    with pytest.raises(ValueError, match="ids must lie in"):
        vocabulary.pieces(np.array([len(vocabulary)]))
    with pytest.raises(TypeError, match="must be several texts, got one"):
        type(vocabulary).train("ein Hund", 300)


def test_words_that_are_rare_or_unknown():
    words = Words.train(["b a c", "c b", "c"], min_count=2)
    assert words.known == ("c", "b")
    assert words.encode(" a b\tc ").tolist() == [1, 5, 4]
    assert words.decode(np.array([4, 1, 5])) == "c \ufffd b"
    assert words.unknown("b x a x") == "a x"


def test_subwords_merge_the_most_frequent_pairs():
    """Sennrich et al.'s example: of low 5, lower 2, newest 6, widest 3 times, es (9) comes first, then est."""
    line = " ".join(["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3)
    vocabulary = Subwords.train([line], 4 + 256 + 4)
    merges = json.loads(vocabulary.tokenizer)["model"]["merges"]
    assert [tuple(pair) for pair in merges[:2]] == [("e", "s"), ("es", "t")]
    assert {tuple(pair) for pair in merges[2:]} == {("l", "o"), ("lo", "w")}  # 7 of each
    assert vocabulary.pieces(vocabulary.encode("lowest")) == ["low", "est"]


def test_as_many_subwords_as_asked_for_or_as_there_are():
    assert len(SUBWORDS) == 290
    assert len(Subwords.train(GERMAN, 260)) == len(Subwords.train([], 260)) == 260
    few = Subwords.train(["ab ab cd"], 1000)
    assert (len(few), few.pieces(few.encode("ab cd"))) == (261, ["ab", " ", "c", "d"])  # " ab" and "cd" came once
    with pytest.raises(ValueError, match="size must be at least 260, got 259"):
        Subwords.train(GERMAN, 259)


def test_subwords_tell_characters_that_were_never_seen():
    assert SUBWORDS.unknown("ein 中文 Hund ß!") == "!ß中文"
    assert UNKNOWN_SYMBOL not in SUBWORDS.encode("中文")
    assert SUBWORDS.pieces(SUBWORDS.encode(" Hundß")) == [" Hund", "\ufffd", "\ufffd"]
    assert SUBWORDS.decode(SUBWORDS.encode("ß")[:1]) == "\ufffd"
    with pytest.raises(ValueError, match="surrogates not allowed"):
        SUBWORDS.encode("\ud800")


def test_the_same_text_gives_the_same_subwords_in_another_process():
    code = (
        "import hashlib, sys; from lstmjax.data.subwords import Subwords\n"
        "made = Subwords.train(sys.argv[1:], 290); print(hashlib.sha256(made.tokenizer.encode()).hexdigest())\n"
        "again = Subwords.train(sys.argv[1:], 290); assert made == again"
    )
    done = subprocess.run([sys.executable, "-c", code, *GERMAN], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(SUBWORDS.tokenizer.encode()).hexdigest()
    assert done.stderr == ""


@pytest.mark.parametrize("shared", [False, True])
@kinds
def test_both_sides_are_read_back(tmp_path, vocabulary, shared):
    path = tmp_path / "vocabulary.json"
    pair = PairVocabulary(vocabulary, vocabulary if shared else Characters.train(["naïve \N{GRINNING FACE}"]))
    save_pair(pair, path)
    again = load_pair(path)
    assert again == pair
    assert again.shared == pair.shared == shared
    for text in (*GERMAN, "etwas Neues"):
        np.testing.assert_array_equal(again.source.encode(text), pair.source.encode(text))
        np.testing.assert_array_equal(again.target.encode(text), pair.target.encode(text))
    assert list(tmp_path.iterdir()) == [path]


def saved(**changes):
    """Subwords in a file, with something else in the library's part of it."""
    library = {**json.loads(SUBWORDS.tokenizer), **changes}
    return json.dumps({"shared": {**SUBWORDS.to_json(), "tokenizer": json.dumps(library)}}).encode()


MODEL = json.loads(SUBWORDS.tokenizer)["model"]
OTHER_NUMBER = {**MODEL, "vocab": {**MODEL["vocab"], "ei": 5000}}
NO_BYTES = {**MODEL, "vocab": {"a": 0}, "merges": []}
WORD = b'{"kind": "words", "known": ["a"]}'


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "is not a readable vocabulary of two sides: .*No such file"),
        (b"{", "is not a readable vocabulary of two sides"),
        (b"\xff\xfe", "is not a readable vocabulary of two sides"),
        (b"[" * 100_000, "is not a readable vocabulary of two sides"),
        (b"[]", "expected source and target, or shared"),
        (b'{"source": %b}' % WORD, "expected source and target, or shared"),
        (b'{"shared": %b, "source": %b}' % (WORD, WORD), "expected source and target, or shared"),
        (b'{"source": %b, "target": {"kind": "syllables"}}' % WORD, "its target must be of kind .* got {'kind': 'syll"),
        (b'{"shared": {"kind": "words", "known": "a"}}', "its shared must be of kind"),
        (b'{"shared": {"kind": "words", "known": ["a", "a"]}}', "known must be distinct"),
        (b'{"shared": {"kind": "words", "known": ["a", 1]}}', "known must be a tuple of texts"),
        (b'{"shared": {"kind": "characters", "known": ["ab"]}}', "known must be texts of one character each"),
        (
            b'{"shared": {"kind": "subwords", "tokenizer": "{", "characters": ""}}',
            "must be what the library",
        ),
        (json.dumps({"shared": {**SUBWORDS.to_json(), "characters": "ba"}}).encode(), "in ascending order"),
        (saved(model=OTHER_NUMBER), "numbered from 0, each number once"),
        (saved(model=NO_BYTES), "with every byte and nothing around it"),
        (saved(model={**MODEL, "dropout": 0.5}), "with every byte and nothing around it"),
        (saved(normalizer={"type": "Lowercase"}), "with every byte and nothing around it"),
        (saved(pre_tokenizer=None), "with every byte and nothing around it"),
    ],
)
def test_files_that_hold_no_vocabulary(tmp_path, content, sentence):
    path = tmp_path / "vocabulary.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        load_pair(path)
    assert str(caught.value).startswith(str(path))


def test_without_the_library(tmp_path, monkeypatch):
    path = tmp_path / "vocabulary.json"
    save_pair(PairVocabulary(SUBWORDS, SUBWORDS), path)
    whole_import = builtins.__import__

    def without(name, *rest):
        if name == "tokenizers":
            raise ImportError
        return whole_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"tokenizers, which is not installed: pip install 'lstmjax\[experiments\]'"):
        Subwords.train(GERMAN, 300)
    with pytest.raises(InputError, match=r"vocabulary\.json can't be used: .* not installed"):
        load_pair(path)
    assert len(Words.train(GERMAN)) == 15
