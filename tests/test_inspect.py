"""What is seen inside a language model: records, features of a text, correlations, the page and its command."""

import base64
import functools
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx
from experiments import inspect, inspect_pictures
from lstmjax import inspection
from lstmjax.data.text import ByteVocabulary, CharVocabulary
from tests import cases

GOLDEN = Path(__file__).parent / "golden" / "language-model-format-0"
TEXT = 'He said "use (x + 1)" twice.\n\n  if x:\n    y = "A </script> B" + f(2)\n  It\'s done; \'so\' be it.\n' * 8


def language_model(cell=None):
    model = lx.models.LanguageModel(11, lx.models.LanguageModelConfig(5, 6, num_layers=2), rngs=nnx.Rngs(0))
    if cell is not None:
        model.recurrent = lx.stack(cell, 5, 6, num_layers=2, rngs=nnx.Rngs(0))
    return model


@pytest.fixture(scope="module")
def read():
    """A model, what it read, and the records."""
    model, tokens = language_model(), jnp.asarray(np.random.default_rng(0).integers(0, 11, (2, 9)), jnp.int32)
    return model, tokens, inspection.record(model, tokens)


def test_a_record_ends_in_the_models_own_scores_and_state(read):
    model, tokens, (records, state) = read
    scores, own_state = model(tokens)
    np.testing.assert_allclose(model.score(records[-1].output), scores, rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state, own_state)


def test_a_record_obeys_the_equations(read):
    _, _, (records, _) = read
    for record in records:
        (_, c), gates = record.state, record.gates
        before = np.concatenate([np.zeros_like(c[:, :1]), c[:, :-1]], axis=1)
        np.testing.assert_allclose(c, gates.f * before + gates.i * gates.g, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(record.output, gates.o * np.tanh(c), rtol=1e-5, atol=1e-6)


def test_a_text_read_in_pieces_is_the_text_read_whole(read):
    model, tokens, (whole, end) = read
    first, state = inspection.record(model, tokens[:, :4])
    second, state = inspection.record(model, tokens[:, 4:], state)
    pieces = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), first, second)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), (pieces, state), (whole, end))


def test_tokens_out_of_range_are_refused(read):
    with pytest.raises(ValueError, match=r"tokens must lie in \[0, 10\], got values from 11 to 11"):
        inspection.record(read[0], jnp.array([[11]]))


def marked(text, feature):
    """The characters where a feature holds, the others as dots."""
    holds = inspection.text_features(text)[feature]
    return "".join(character if h else "." for character, h in zip(text.replace("\n", "/"), holds, strict=True))


@pytest.mark.parametrize(
    ("feature", "text", "expected"),
    [
        ("inside double quotes", 'a "b c" d', '.."b c...'),
        ("inside double quotes", 'one " too\n\nmany "of\nthem" x', '................"of/them...'),
        ("inside double quotes", "say “so” x", "....“so..."),
        ("inside single quotes", "it's 'one's own' dogs'", ".....'one's own......."),
        ("inside backquotes", "a ``b c`` d `e`", "..``b c`....`e."),
        ("inside brackets", "a (b [c] d) e) (f", "..(b [c] d.....(f"),
        ("inside brackets", "(a\n \nb)", "(a....."),
        ("first letter of a word", "an x2 B", "a..x..B"),
        ("upper case", "aBC d", ".BC.."),
        ("digit", "a1 22", ".1.22"),
    ],
)
def test_where_yes_or_no_features_hold(feature, text, expected):
    assert marked(text, feature) == expected


def test_places_in_lines_by_counting():
    text = "".join(np.random.default_rng(3).choice(list("ab \n"), 300))
    features = inspection.text_features(text)
    for place in range(len(text)):
        before, after = text[: place + 1].split("\n"), text[place + 1 :].split("\n")
        line = before[-1] + after[0]
        assert features["characters since the line began"][place] == len(before[-1])
        assert features["characters until the line ends"][place] == len(after[0])
        assert features["indentation"][place] == min(len(before[-1]), len(line) - len(line.lstrip()))
        assert features["characters since the text began"][place] == place


def test_every_feature_has_a_value_for_every_character():
    for text in ("", "\n", "x", TEXT):
        assert {values.shape for values in inspection.text_features(text).values()} == {(len(text),)}


def test_correlations_of_pieces_are_those_of_the_whole():
    rng = np.random.default_rng(1)
    xs, ys = rng.normal(5.0, 2.0, (50, 4)).astype(np.float32), rng.normal(size=(50, 3))
    ys[:, 1] += xs[:, 2]
    xs[:, 3] = 0.1
    sums = inspection.moments(xs[:20], ys[:20]).plus(inspection.moments(xs[20:], ys[20:]))
    expected = np.corrcoef(xs.T[:3].astype(np.float64), ys.T)[:3, 3:]
    np.testing.assert_allclose(inspection.correlation(sums), np.pad(expected, ((0, 1), (0, 0))), atol=1e-9)


def test_signals_and_features_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"ys must have shape \[5, K\], got \[4, 2\]"):
        inspection.moments(np.ones((5, 2)), np.ones((4, 2)))


def test_units_are_chosen_on_the_first_half_alone():
    rng = np.random.default_rng(2)
    quotes = (rng.random((400, 1)) < 0.3).astype(float)
    signals = rng.normal(size=(400, len(inspect.SIGNALS), 6))
    signals[:, inspect.SIGNALS.index("f"), 3] -= 3 * quotes[:, 0]
    signals[:200, inspect.SIGNALS.index("g"), 5] += 9 * quotes[:200, 0]  # only where it is looked for
    halves = [
        inspection.moments(signals.reshape(400, -1)[half], quotes[half]) for half in (slice(200), slice(200, 400))
    ]
    ranking = inspect.rank(halves)
    assert ranking.order(0)[:2] == [5, 3]
    assert [inspect.SIGNALS[ranking.signal[unit, 0]] for unit in (5, 3)] == ["g", "f"]
    assert ranking.found[5, 0] > 0.9
    assert abs(ranking.held_out[5, 0]) < 0.2
    assert ranking.found[3, 0] < -0.7
    assert ranking.held_out[3, 0] < -0.7


def test_the_best_tracked_of_quotes_and_of_lines_are_drawn_where_they_change():
    names = ["inside double quotes", "inside single quotes", "digit", "characters since the line began"]
    found = np.array([[0.9, 0.1, 0.95, 0.2], [0.5, -0.6, 0.0, 0.3]])
    ranking = inspect.Ranking(np.zeros((2, 4), int), found, found)
    changes = np.arange(12.0).reshape(3, 4)
    assert inspect.best_features(names, changes, ranking) == [0, 3]
    assert inspect.best_features(names, changes * [0, 1, 1, 0], ranking) == [1]
    assert inspect.best_features(names, changes * [0, 0, 1, 0], ranking) == [2]


def test_bytes_are_shown_with_their_character_at_its_last():
    vocabulary = ByteVocabulary()
    assert inspect.cut(vocabulary, vocabulary.encode("aé€"), "aé€") == ["a", "·", "é", "·", "·", "€"]


@pytest.mark.parametrize("vocabulary", [CharVocabulary("abc"), CharVocabulary("\nab"), ByteVocabulary()])
def test_symbols_have_the_names_they_have_one_by_one(vocabulary):
    ids = np.array([3, 0, 1, 2, 3])
    names = inspect.names_of(vocabulary, ids)
    assert [names[i] for i in ids] == [vocabulary.decode(np.array([i])) for i in ids]


call = functools.partial(cases.call, inspect.main)


def page_of(file):
    """The data inside a page."""
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', file.read_text(), re.DOTALL)
    return json.loads(data)


def unpacked(text, dtype, shape):
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


def test_the_page_holds_what_the_model_did(tmp_path, monkeypatch, capsys):
    text, out = tmp_path / "a.txt", tmp_path / "pages" / "a.html"
    text.write_text(TEXT + "é" * 3)
    arguments = ["--checkpoint", GOLDEN, "--text", text, "--out", out, "--units", 9, "--length", 60]
    code, said, complaint = call(arguments, monkeypatch, capsys)
    assert (code, complaint) == (0, "the model has never seen 'é'; it reads one symbol for all of them")
    assert "of 12 units the best, found on the first half of" in said
    assert out.with_name("tracked.png").read_bytes()[:4] == b"\x89PNG"
    page = page_of(out)
    model, vocabulary = lx.load_model(GOLDEN)
    ids = vocabulary.encode(TEXT + "é" * 3)
    records, _ = inspection.record(model, jnp.asarray(np.resize(ids, (1, inspect.CHUNK))))
    shown = slice(len(ids) // 2, len(ids) // 2 + 60)
    assert (page["read"], page["first"], "".join(page["pieces"])) == (len(ids), shown.start, TEXT[shown])
    memory = unpacked(page["memory"], "<i2", (9, 60)) / 32767 * np.array(page["scales"])[:, None]
    gates = unpacked(page["gates"], "i1", (4, 9, 60)) / 127
    for place, (layer, unit) in enumerate(page["units"]):
        output, state, own_gates = jax.tree.map(lambda leaf, u=unit: leaf[0, shown, u - 1], records[layer - 1])
        np.testing.assert_allclose(memory[place], state.c, atol=1e-3 * page["scales"][place])
        np.testing.assert_allclose(gates[:, place], np.stack(own_gates), atol=0.005)
        np.testing.assert_allclose(gates[3, place] * np.tanh(memory[place]), output, atol=0.005)
    probabilities = jax.nn.softmax(model.score(records[-1].output[0, shown]))
    assert page["likely"][7][0] == vocabulary.decode(np.array([probabilities[7].argmax()]))
    chances = unpacked(page["chances"], "u1", (60, 3))
    np.testing.assert_allclose(chances[:, 0] / 100, probabilities.max(axis=1), atol=0.006)


def test_a_short_text_is_shown_whole_and_lacks_what_it_lacks(tmp_path, monkeypatch, capsys):
    text, out = tmp_path / "words.txt", tmp_path / "page.html"
    text.write_text("plain words in one line without any marks " * 3)
    assert call(["--checkpoint", GOLDEN, "--text", text, "--out", out], monkeypatch, capsys)[0] == 0
    page = page_of(out)
    assert (page["first"], len(page["pieces"])) == (0, 126)
    assert page["features"] == [
        "characters since the line began",
        "characters until the line ends",
        "first letter of a word",
        "characters since the text began",
    ]


@pytest.mark.parametrize(
    ("text", "more", "complaint"),
    [
        ("", [], "text.txt is empty; expected UTF-8 text"),
        ("short", [], "text.txt has 5 symbols; expected at least 100, to find units and check"),
        (TEXT, ["--read", 7], "read must be at least 100, got 7"),
        (TEXT, ["--units", 0], "units must be at least 1, got 0"),
        (TEXT, ["--out", "page.png"], "out must be an HTML file, such as inspect.html, got 'page.png'"),
    ],
)
def test_what_cannot_be_looked_at_is_told_in_a_sentence(tmp_path, monkeypatch, capsys, text, more, complaint):
    (tmp_path / "text.txt").write_text(text)
    arguments = ["--checkpoint", GOLDEN, "--text", tmp_path / "text.txt", *more]
    code, _, said = call(arguments, monkeypatch, capsys)
    assert code == 2
    assert complaint in said


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (lambda: nnx.Linear(2, 2, rngs=nnx.Rngs(0)), "holds a Linear; expected a LanguageModel"),
        (lambda: language_model(lx.cells.GRU), "holds layers of GRU; expected LSTM"),
    ],
)
def test_other_models_are_refused(tmp_path, monkeypatch, capsys, model, complaint):
    monkeypatch.setattr(inspect.trained, "load_model", lambda *_: (model(), CharVocabulary("abc")))
    code, _, said = call(["--checkpoint", tmp_path, "--text", "x"], monkeypatch, capsys)
    assert (code, said) == (2, f"error: {tmp_path} {complaint}")


def test_regularised_lstms_are_looked_into_as_lstms(tmp_path, monkeypatch):
    model = language_model(lambda i, h: lx.regularizers.WeightDrop(lx.cells.LSTM(i, h), 0.5))
    monkeypatch.setattr(inspect.trained, "load_model", lambda *_: (model, CharVocabulary("abc")))
    found, _ = inspect.load_lstm(inspect.InspectConfig(tmp_path, tmp_path))
    records, _ = inspection.record(found, jnp.array([[1, 2]]))
    assert records[1].gates.f.shape == (1, 2, 6)


def test_long_words_and_odd_signs_are_drawn(tmp_path):
    pieces = ["$x^2$ ", "\n", "a" * 150, "\u4e2d", "end "] * 30
    signals = {name: np.linspace(0, 1, len(pieces)) for name in inspect.SIGNALS}
    panel = inspect_pictures.Panel("title", pieces, signals, "c", np.zeros(len(pieces)))
    inspect_pictures.draw(tmp_path / "a.png", [panel])
    assert (tmp_path / "a.png").stat().st_size > 1000
