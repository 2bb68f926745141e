"""Drawings: the same from every kind of file, a sentence for each mistake, the study's figures and what it draws."""

import functools
import gzip
import json

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from experiments import strokes as command
from lstmjax import load_model
from lstmjax.data.made_strokes import AFTERWARDS, LETTERS, Writer, made_words, write
from lstmjax.data.strokes import DRAWS, ENDS, LIFTS, read_strokes, to_points, to_strokes
from lstmjax.errors import InputError
from tests import cases

HOUSE = [[[0, 0, 9, 9], [5, 0, 0, 5]], [[4, 4.5]] * 2, [[1], [7]]]
POINTS = np.array([[0, 0, 0], [0, -5, 0], [9, 0, 0], [0, 5, 1], [-5, -1, 0], [0.5, 0.5, 1], [-3.5, 2.5, 2]])
PLAIN = Writer(slant=0.0, width=1.0, climb=0.0, speed=20.0, jitter=0.0, tremor=0.0)
SMALL = "--no-baselines --quick --steps 3 --batch-size 4 --num-buckets 1 --columns 2 "
SMALL += "--model.hidden-features 4 --model.components 2"


def line(drawing, **others):
    return json.dumps({"word": "house", "countrycode": "DE", **others, "drawing": drawing}) + "\n"


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def written(path, content):
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


def files(folder):
    """Two drawings, a house and a dash, in every kind of file."""
    dash = [[[0, 3], [1, 1]]]
    with_times = [[*stroke, list(range(len(stroke[0])))] for stroke in HOUSE]
    by_point = [[list(map(list, zip(*stroke, strict=True))) for stroke in each] for each in (HOUSE, dash)]
    points = np.concatenate([POINTS, [[7, 7, 0], [3, 0, 1]]])
    marks = np.minimum(points, [np.inf, np.inf, 1])
    yield written(folder / "a.ndjson", line(HOUSE) + line(dash))
    yield written(folder / "b.ndjson.gz", line(with_times) + "\n" + line(dash))
    yield written(folder / "c.json", json.dumps([HOUSE, dash]))
    yield written(folder / "d.JSON.gz", json.dumps({"points": by_point}))
    yield save(folder / "e.npz", points=marks, lengths=[7, 2])
    yield save(folder / "f.npz", house=marks[:7].astype("f2"), dash=marks[7:].astype(int))


def test_every_kind_of_file_says_the_same(tmp_path):
    for path in files(tmp_path):
        found = read_strokes(path)
        assert [points.dtype for points in found.points] == ["float32"] * 2
        np.testing.assert_array_equal(found.points[0], POINTS)
        np.testing.assert_array_equal(found.points[1], [[0, 0, 0], [3, 0, 2]])
        assert all(str(path) in place for place in found.places)
        assert len(read_strokes(path, limit=1).points) == 1


def test_strokes_are_points_and_back():
    strokes = [np.array(stroke, float).T for stroke in HOUSE]
    np.testing.assert_array_equal(to_points(strokes), POINTS)
    for one, other in zip(strokes, to_strokes(to_points(strokes)), strict=True):
        np.testing.assert_allclose(one - strokes[0][0], other)


def test_what_nobody_recognised_can_be_left_out(tmp_path):
    rows = [line(HOUSE, recognized=flag) for flag in (True, False, True, True)]
    path = written(tmp_path / "a.ndjson", "".join(rows))
    assert [place[-6:] for place in read_strokes(path, only_recognized=True, limit=2).places] == ["line 1", "line 3"]
    written(path, line(HOUSE, recognized="yes"))
    with pytest.raises(InputError, match="line 1: expected recognized to be true or false, got 'yes'"):
        read_strokes(path, only_recognized=True)
    with pytest.raises(ValueError, match="only_recognized is for files of Quick, Draw!"):
        read_strokes(tmp_path / "a.json", only_recognized=True)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.ndjson", line(HOUSE) + "{", "a.ndjson, line 2 is not JSON: "),
        ("a.ndjson", '{"word": "cat"}', "line 1: expected an object with a drawing, got .*cat"),
        ("a.ndjson", line(HOUSE) + line([]), r"line 2: expected a list of at least one stroke, got \[\]"),
        ("a.ndjson", line([[[1, 2]]]), "line 1, stroke 1: expected a list of x and one of y"),
        ("a.ndjson", line([[[1], [2]], [[1, 2], [3]]]), "stroke 2: expected as many x as y .* got 2 x and 1 y"),
        ("a.ndjson", line([[[], []]]), "stroke 1: expected as many x as y and at least 1, got 0 x and 0 y"),
        ("a.ndjson", line([[[1, float("nan")], [2, 3]]]), "stroke 1: expected x 2 to be finite .* got nan"),
        ("a.ndjson", line([[[1], [float("-inf")]]]), "expected y 1 to be finite .* got -inf"),
        ("a.ndjson", line([[[1], ["2"]]]), "expected y 1 to be finite .* got '2'"),
        ("a.ndjson", line([[[True], [2]]]), "expected x 1 to be finite .* got True"),
        ("a.ndjson", line([[[10**400], [2]]]), "expected x 1 to be finite and below .* got 10000"),
        ("a.ndjson", line([[[1e300], [2]]]), r"expected x 1 to be finite and below 1e\+09, got 1e\+300"),
        ("a.ndjson", "\n\n", "a.ndjson has no drawings; expected at least 1"),
        ("a.ndjson", "", "a.ndjson is empty"),
        ("a.ndjson.gz", None, "a.ndjson.gz can't be read"),
        ("a.json", "[]", "a.json has no drawings"),
        ("a.json", "3", "expected a list of drawings or"),
        ("a.json", '{"points": 3}', "expected a list of drawings or .* got 3"),
        ("a.json", "[[[[1, 2]]]]", "drawing 1, stroke 1: expected a list of x and one of y"),
        ("a.json", '{"points": [[[[1, 2], [3]]]]}', r"drawing 1, stroke 1, point 2: expected \[x, y\], got \[3\]"),
        ("a.json", '{"points": [[[[1, 2], [3, NaN]]]]}', "stroke 1: expected y 2 to be finite .* got nan"),
        ("a.json", '{"points": [[[]]]}', r"stroke 1: expected a list of points \[x, y\], got \[\]"),
        ("a.json", "[" * 100_000, "a.json is not JSON"),
        ("a.npz", None, "a.npz is not an NPZ file"),
        ("a.txt", "1", "a.txt is not known as strokes: expected a name that ends in .npz, .json"),
    ],
)
def test_a_sentence_for_each_mistake(tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(b"nothing" if content is None else content.encode())
    with pytest.raises(InputError, match=sentence):
        read_strokes(path)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (
            {"points": np.zeros((4, 3)), "lengths": [3]},
            r"expected lengths to be whole numbers \[K\] that add up to the 4",
        ),
        ({"points": np.zeros((4, 3)), "lengths": [5, -1]}, "that add up to the 4 points"),
        ({"points": np.zeros((4, 3)), "lengths": [4.0]}, r"got float64 \[1\]"),
        ({"points": np.zeros((4, 3)), "lengths": [4, 0]}, r"drawing 2: expected numbers \[T, 3\] of at least 1 point"),
        ({"points": np.zeros((4, 3))}, "expected points and lengths together and nothing else, got points"),
        (
            {"lengths": [3], "cat": np.zeros((3, 3))},
            "points and lengths together and nothing else, got lengths",
        ),
        ({"points": np.zeros((4, 2)), "lengths": [4]}, r"drawing 1: expected numbers \[T, 3\] .* got float64 \[4, 2\]"),
        ({"cat": np.zeros(3)}, r"array cat: expected numbers \[T, 3\]"),
        ({"cat": np.array([["a", "b", "c"]])}, r"array cat: expected numbers \[T, 3\] .* got <U1 \[1, 3\]"),
        ({"cat": np.array([[0, np.nan, 0]])}, "array cat, point 1, column 2: expected it to be finite .* got nan"),
        ({"cat": np.array([[0, 0, 0], [1e30, 0, 1]])}, r"point 2, column 1: .* below 1e\+09, got 1e\+30"),
        ({"cat": np.array([[0, 0, 2], [1, 0, 1]])}, "array cat, point 1: expected 0 or 1 in column 3, got 2"),
        ({"train": np.array([{}, None])}, "the array train can't be read: it holds Python objects"),
        ({}, "has no drawings"),
    ],
)
def test_a_sentence_for_each_wrong_array(tmp_path, arrays, sentence):
    with pytest.raises(InputError, match=sentence):
        read_strokes(save(tmp_path / "a.npz", **arrays))


def test_made_words_follow_from_their_seed_and_number():
    few, many = made_words(3, seed=1), made_words(5, seed=1)
    for one, other in zip(few.points, many.points, strict=False):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(few.points[0][:9], made_words(1, seed=2).points[0][:9])
    for points in many.points:
        assert points[0].tolist() == [0, 0, DRAWS]
        assert np.flatnonzero(points[:, 2] == ENDS).tolist() == [len(points) - 1]


@pytest.mark.parametrize("word", sorted(LETTERS))
def test_a_sure_hand_passes_what_a_letter_says(word):
    strokes = to_strokes(write(word, PLAIN, np.random.default_rng(0)))
    lists = [LETTERS[word], *([AFTERWARDS[word]] if word in AFTERWARDS else [])]
    for stroke, knots in zip(strokes, lists, strict=True):
        for x, y in knots:  # from (0, 0.25), y downwards
            assert np.hypot(*(stroke - [x, 0.25 - y]).T).min() < 0.06


def test_dots_and_bars_come_last():
    points = write("tin", PLAIN, np.random.default_rng(0))
    assert len(to_strokes(points)) == 3
    assert np.count_nonzero(points[:, 2] == LIFTS) == 2


def test_the_pen_is_slow_where_the_curve_is_tight():
    (stroke,) = to_strokes(write("ll", PLAIN._replace(speed=60.0), np.random.default_rng(0)))
    steps = np.diff(stroke, axis=0)
    paces, turns = np.hypot(*steps.T), np.abs(np.diff(np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))))
    curvature = turns / paces[1:]
    inside = (curvature > 1.0) & (curvature < 20.0)
    slope = np.polyfit(np.log(curvature[inside]), np.log(paces[1:][inside]), 1)[0]
    assert -0.40 < slope < -0.26  # the law says -1 / 3


call = functools.partial(cases.call, command.main)


@pytest.mark.usefixtures("lenient_promotion")
def test_the_command_from_a_file_to_drawings(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "BIASES", (1.0,))
    made = made_words(40, seed=3).points
    drawings = [[stroke.T.tolist() for stroke in to_strokes(points)] for points in made]
    long, dot = [[list(range(301)), [0] * 301]], [[[1], [1]]]
    path = written(tmp_path / "words.json", json.dumps([*drawings, long, dot]))
    code, out, err = call(["--data", path, "--out", tmp_path / "run", *SMALL.split()], monkeypatch, capsys)
    assert code == 0, err
    assert "left out: 1 drawings of more than 300 points, see --longest" in out
    assert "left out: 1 drawings of a single point" in out
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    model, companion = load_model(tmp_path / "run")
    assert companion is None
    check_marginal(summary, made, model)
    assert summary["test_nll"] == pytest.approx(summary["test_offset_nll"] + summary["test_pen_nll"], abs=1e-5)
    for name in ("true.png", "samples.png", "densities.png", "loss.png"):
        assert (tmp_path / "run" / name).read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "run/samples.svg").read_bytes()
    check_samples(tmp_path, monkeypatch, capsys)


def check_marginal(summary, made, model):
    """The simplest baseline by hand, in the units of the model's training data."""
    order = np.random.default_rng(0).permutation(40)
    test, train = ([made[row] for row in np.sort(rows)] for rows in (order[:5], order[8:]))
    mean, scale = (np.asarray(each[...]) for each in (model.standardize.mean, model.standardize.scale))
    seen, asked = (np.concatenate([points[1:] for points in part]) for part in (train, test))
    own = summary["test_nll"] + np.log(scale).sum()
    assert summary["test_nll_in_own_units"] == pytest.approx(own, abs=1e-5)
    np.testing.assert_allclose(mean, seen[:, :2].mean(axis=0), atol=1e-5)
    seen_z, asked_z = ((each[:, :2] - mean) / scale for each in (seen, asked))
    offset = -multivariate_normal(seen_z.mean(axis=0), np.cov(seen_z.T, bias=True)).logpdf(asked_z)
    shares = (np.bincount(seen[:, 2].astype(int), minlength=3) + 1) / (len(seen) + 3)
    expected = offset - np.log(shares[asked[:, 2].astype(int)])
    assert summary["baseline_marginal_test_nll"] == pytest.approx(expected.mean(), abs=1e-4)
    assert summary["baseline_linear_test_nll"] < summary["baseline_marginal_test_nll"]


def check_samples(folder, monkeypatch, capsys):
    """More drawings: in JSON, which is read again, and as a picture."""
    asked = ["--checkpoint", folder / "run", "--sample", 3, "--bias", 1, "--length", 30]
    code, _, err = call([*asked, "--out", folder / "drawn.json"], monkeypatch, capsys)
    assert code == 0, err
    found = read_strokes(folder / "drawn.json")
    assert len(found.points) == 3
    assert jnp.all(jnp.array([len(points) <= 30 for points in found.points]))
    code, _, _ = call([*asked, "--out", folder / "drawn.svg"], monkeypatch, capsys)
    assert code == 0
    assert b"<svg" in (folder / "drawn.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "a.txt"], "error: a.txt is not known as strokes"),
        (["--data", "two.json"], "two.json: 2 drawings are too few to train on and to hold 2 of them out"),
        (["--only-recognized"], "only_recognized is for .ndjson files of Quick, Draw!, got made"),
        (["--data", "two.json", "--only-recognized"], "only_recognized is for .ndjson files"),
        (["--longest", "1"], "longest must be at least 2, got 1"),
        (["--checkpoint", "nowhere", "--out", "a.svg"], "nowhere"),
        (["--checkpoint", "nowhere", "--out", "a.gif"], "the ending of out must be one of '.svg', '.png', '.json'"),
        (["--checkpoint", "nowhere", "--bias", "-1"], "bias must be at least 0, got -1.0"),
    ],
)
def test_a_sentence_for_each_wrong_command(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "two.json", json.dumps([HOUSE, HOUSE]))
    code, _, err = call(arguments, monkeypatch, capsys)
    assert (code, "Traceback" in err) == (2, False)
    assert sentence in err
