"""NPZ files: arrays of one length or of many, nothing run on the way, and a sentence for what is neither."""

import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmjax.data.arrays import read_npz
from lstmjax.errors import InputError


@pytest.fixture
def npz(tmp_path):
    """Write an NPZ file and read it."""

    def read(numbers=False, has_targets=None, **arrays):
        np.savez(tmp_path / "steps.npz", **arrays)
        return read_npz(
            tmp_path / "steps.npz", numbers=numbers, has_targets="y" in arrays if has_targets is None else has_targets
        )

    return read


def ragged(*rows):
    x = np.empty(len(rows), object)
    x[:] = rows
    return x


def lists(labelled):
    return [sequence.tolist() for sequence in labelled.sequences]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", ">f4", "int64", "uint8", "bool"])
def test_arrays_of_every_real_dtype(npz, dtype):
    x = np.array([[[1, 0], [0, 1], [1, 1]], [[0, 0], [1, 0], [0, 1]]], dtype)
    labelled = npz(x=x)
    np.testing.assert_array_equal(np.stack(labelled.sequences), x.astype(np.float32), strict=True)
    assert labelled.targets is None
    assert [place.rsplit(", ", 1)[1] for place in labelled.places] == ["example 0", "example 1"]
    np.testing.assert_array_equal(np.stack(npz(x=x[..., 0]).sequences), x[..., :1].astype(np.float32), strict=True)


def test_rows_end_at_their_lengths_whatever_is_behind(npz):
    labelled = npz(x=np.array([[1.0, np.nan, np.inf], [2.0, 3.0, 4.0], [np.nan] * 3]), lengths=np.array([1, 3, 0]))
    assert lists(labelled) == [[[1.0]], [[2.0], [3.0], [4.0]], []]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(1, 3))
def test_rows_of_many_lengths(tmp_path_factory, lengths, width):
    rows = [np.random.default_rng(n).normal(size=(length, width)) for n, length in enumerate(lengths)]
    path = tmp_path_factory.mktemp("written") / "x.npz"
    np.savez_compressed(path, x=ragged(*rows))
    for found, row in zip(read_npz(path, has_targets=False).sequences, rows, strict=True):
        np.testing.assert_array_equal(found, row.astype(np.float32), strict=True)


def test_objects_that_hold_numbers(npz):
    assert lists(npz(x=ragged(np.arange(2), np.arange(1.0)))) == [[[0.0], [1.0]], [[0.0]]]
    assert lists(npz(x=ragged([1, 2], [np.float32(0.5)]))) == [[[1.0], [2.0]], [[0.5]]]
    assert lists(npz(x=np.array([[[1, 2]], [[3, 4]]], object))) == [[[1.0, 2.0]], [[3.0, 4.0]]]
    assert lists(npz(x=ragged(np.arange(3.0), np.arange(2.0)), lengths=np.array([1, 2], np.uint8))) == [
        [[0.0]],
        [[0.0], [1.0]],
    ]


@pytest.mark.parametrize(
    ("y", "targets"),
    [
        (np.array(["up", "é"]), ["up", "é"]),
        (np.array([b"up", "é".encode()]), ["up", "é"]),
        (np.array([3, -1], np.int16), ["3", "-1"]),
        (np.array(["up", np.int64(2)], object), ["up", "2"]),
        (np.array([np.str_("up"), b"down"], object), ["up", "down"]),
        (np.array([[0, 1, 1], [0, 0, 0]]), [("1", "2"), ()]),
        (np.array([[1.0], [0.0]]), [("0",), ()]),
        (np.array([[True, False], [True, True]]), [("0",), ("0", "1")]),
    ],
)
def test_labels(npz, y, targets):
    assert npz(x=np.ones((2, 3)), y=y, has_targets=True).targets == targets


@pytest.mark.parametrize("y", [np.array([1, 2]), np.array([[0.5, 1.0], [2.0, -3.0]]), np.array([0.5, 2], object)])
def test_numbers(npz, y):
    expected = y.astype(np.float64).reshape(2, -1)
    np.testing.assert_array_equal(npz(numbers=True, x=np.ones((2, 3)), y=y).targets, expected, strict=True)


X = np.arange(12.0).reshape(2, 3, 2)


def with_entry(value, dtype=np.float64):
    x = X.astype(dtype)
    x[1, 2, 0] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"y": X}, r"steps\.npz: expected the arrays x, y, perhaps lengths, got y"),
        ({"x": X, "has_targets": True}, "expected the arrays x, y, perhaps lengths, got x"),
        ({"x": X, "length": [1, 2]}, "expected the arrays x, perhaps lengths, y, got length, x"),
        ({"x": np.ones(3)}, r"x must be numbers \[N, T, I\] or \[N, T\], .*, got float64 \[3\]"),
        ({"x": np.float64(3)}, r"x must be numbers .*, got float64 \[\]"),
        ({"x": np.array({}, object)}, r"x must be numbers .*, got object \[\]"),
        ({"x": np.ones((1, 1, 1, 1))}, r"x must be numbers .*, got float64 \[1, 1, 1, 1\]"),
        ({"x": X + 1j}, r"x must be numbers .*, got complex128 \[2, 3, 2\]"),
        ({"x": np.array([["a"]])}, r"x must be numbers .*, got <U1 \[1, 1\]"),
        ({"x": np.ones((0, 3))}, "x has no examples; expected at least 1"),
        ({"x": np.ones((2, 3, 0))}, "example 0: expected some features, got 0"),
        ({"x": with_entry(np.nan)}, "example 1, step 2, feature 0: expected a finite float32, got nan"),
        ({"x": with_entry(-np.inf)}, "example 1, step 2, feature 0: expected a finite float32, got -inf"),
        ({"x": with_entry(1e39)}, r"example 1, step 2, feature 0: expected a finite float32, got 1e\+39"),
        ({"x": ragged(X[0], [[1, 2], [3]])}, r"example 1: expected numbers \[T, I\] or \[T\], got \[\[1, 2\], \[3\]\]"),
        ({"x": ragged(X[0], X)}, r"example 1: expected numbers \[T, I\] or \[T\], got array\("),
        ({"x": ragged(X[0], "abc")}, r"example 1: expected numbers \[T, I\] or \[T\], got 'abc'"),
        ({"x": ragged(X[0], X[1, :, :1])}, "example 1: expected 2 features, got 1"),
        ({"x": X, "lengths": [1]}, r"lengths must be whole numbers \[2\], as x, got int64 \[1\]"),
        ({"x": X, "lengths": [1.0, 2.0]}, r"lengths must be whole numbers \[2\], as x, got float64 \[2\]"),
        ({"x": X, "lengths": [3, 4]}, r"example 1: expected a length in \[0, 3\], got 4"),
        ({"x": X, "lengths": [-1, 3]}, r"example 0: expected a length in \[0, 3\], got -1"),
        ({"x": X, "y": ["a"]}, r"y must be \[2\] or \[2, K\], as x, got \[1\]"),
        ({"x": X, "y": X}, r"y must be \[2\] or \[2, K\], as x, got \[2, 3, 2\]"),
        ({"x": X, "y": np.ones((2, 0))}, r"y must be \[2\] or \[2, K\], as x, got \[2, 0\]"),
        ({"x": X, "y": [0.5, 1.0]}, "example 0: expected a label, some text or a whole number, got 0.5"),
        ({"x": X, "y": ["a", " "]}, "example 1: expected a label, some text or a whole number, got ' '"),
        ({"x": X, "y": [b"a", b"\xff"]}, r"example 1: expected a label in UTF-8, got b'\\xff'"),
        ({"x": X, "y": [[0, 1], [0, 2]]}, "example 1: expected 0 or 1 in column 1 of y, got 2"),
        ({"x": X, "y": [["a", "b"], ["a", "c"]]}, "example 0: expected 0 or 1 in column 0 of y, got 'a'"),
        (
            {"x": X, "y": [1.0, np.nan], "numbers": True},
            "example 1: expected a finite number in column 0 .*nan",
        ),
        ({"x": X, "y": ["a", "b"], "numbers": True}, "example 0: expected a finite number in column 0 of y, got 'a'"),
    ],
)
def test_what_holds_something_else(npz, arrays, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        npz(**arrays)
    assert "\n" not in str(caught.value)


RUN = []


def run(word):
    RUN.append(word)


class Harmful:
    def __reduce__(self):
        return run, ("harm",)


def test_nothing_in_a_pickle_is_run(npz):
    with pytest.raises(InputError, match=r"the array x can't be read: it holds .*test_arrays\.run, which is no part"):
        npz(x=ragged(np.ones(2), Harmful()))
    with pytest.raises(InputError, match=r"the array y can't be read: it holds builtins\.complex, which is no part"):
        npz(x=X, y=np.array([complex, "a"], object))
    assert RUN == []


def npy(array=None, pickled=None):
    """The bytes of an .npy file; with `pickled` in the place of what its header says."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.array([None]) if array is None else array)
    content = file.getvalue()
    return content if pickled is None else content[: content.index(b"\n") + 1] + pickled


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"x.npy": b"hello"}, "the array x can't be read: .*magic string"),
        ({"x.npy": npy(X)[:-1]}, "the array x can't be read: .*expected 96 bytes got 95"),
        ({"x.npy": npy(pickled=pickle.dumps([1, 2]))}, "can't be read: expected a pickled array, got list"),
        ({"x.npy": npy(pickled=b"nonsense")}, "the array x can't be read"),
        ({"x": b"hello"}, "the array x can't be read: .*no item named"),
    ],
)
def test_damaged_arrays(tmp_path, members, sentence):
    with zipfile.ZipFile(tmp_path / "steps.npz", "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    with pytest.raises(InputError, match=sentence) as caught:
        read_npz(tmp_path / "steps.npz", has_targets=False)
    assert "\n" not in str(caught.value)


def test_damaged_files(tmp_path):
    path = tmp_path / "steps.npz"
    np.savez(path, x=X)
    content = path.read_bytes()
    at = content.index(X.tobytes())
    path.write_bytes(content[:at] + b"\1" + content[at + 1 :])
    with pytest.raises(InputError, match="the array x can't be read: Bad CRC-32"):
        read_npz(path, has_targets=False)
    for damaged in (content[:100], b"", npy(X)):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"steps\.npz is not an NPZ file"):
            read_npz(path)
    with pytest.raises(InputError, match="nothing can't be read: No such file or directory"):
        read_npz(tmp_path / "nothing")


def test_arrays_pickled_by_an_older_numpy(tmp_path):
    x = ragged(np.arange(2.0), np.arange(1.0))
    pickled = pickle.dumps(x, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in pickled
    with zipfile.ZipFile(tmp_path / "steps.npz", "w") as file:
        file.writestr("x.npy", npy(x, pickled))
    assert lists(read_npz(tmp_path / "steps.npz", has_targets=False)) == [[[0.0], [1.0]], [[0.0]]]


OBJECTS = ragged(np.ones((2, 2)), np.array([[1, 2]]), [[np.float64(0.5), 1]])


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_pickles_of_every_protocol(tmp_path, protocol):
    with zipfile.ZipFile(tmp_path / "steps.npz", "w") as file:
        file.writestr("x.npy", npy(OBJECTS, pickle.dumps(OBJECTS, protocol)))
    found = lists(read_npz(tmp_path / "steps.npz", has_targets=False))
    assert found == [np.asarray(row).astype(np.float32).tolist() for row in OBJECTS]


@pytest.mark.parametrize("array", [OBJECTS, np.array(["a", b"b", np.str_("c")], object), np.array(["a", "b", "c"])])
def test_damage_anywhere_is_a_sentence_or_another_array(tmp_path, array):
    content, generator = npy(array), np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        damaged = bytearray(content)
        damaged[generator.integers(len(damaged))] = generator.integers(256)
        with zipfile.ZipFile(tmp_path / "steps.npz", "w") as file:
            file.writestr("x.npy", npy(np.ones((3, 2))) if array.dtype.kind == "U" else bytes(damaged))
            file.writestr("y.npy", bytes(damaged))
        try:
            read_npz(tmp_path / "steps.npz")
        except InputError as error:
            refused += "\n" not in str(error)
    assert refused > 10


def test_texts_that_are_no_characters(tmp_path):
    content = npy(np.array(["a"])).replace(b"a\0\0\0", b"a\0\0a")
    with zipfile.ZipFile(tmp_path / "steps.npz", "w") as file:
        file.writestr("x.npy", npy(np.ones((1, 2))))
        file.writestr("y.npy", content)
    with pytest.raises(InputError, match="the array y can't be read: "):
        read_npz(tmp_path / "steps.npz")


@pytest.mark.parametrize("dtype", ["M8[s]", "c16", "i4,f8"])
def test_pickles_of_what_is_neither_number_nor_text(npz, dtype):
    with pytest.raises(InputError, match=r"the array x can't be read: it holds .*, neither numbers nor texts"):
        npz(x=ragged(np.zeros(2, dtype), np.ones(1)))
