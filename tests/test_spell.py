"""Images and their texts: names of numbers, planted bad files, pictures, the command."""

import csv
import functools
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from experiments import spell as study_of_spelling
from experiments import study
from lstmjax import load_model
from lstmjax.data import datasets
from lstmjax.data.datasets import read_idx_images
from lstmjax.data.digit_texts import digit_sums, english, named_digits
from lstmjax.data.examples import Labelled
from lstmjax.data.images import read_images, read_picture
from lstmjax.data.symbols import Characters
from lstmjax.decoding.image_texts import write_texts
from lstmjax.errors import InputError
from tests import cases

pytestmark = pytest.mark.usefixtures("lenient_promotion")

TINY = "--batch-size 8 --model.channels 4 --model.halvings 1 --model.decoder-features 12 --model.out-features 8 "
TINY += "--model.attention-features 8 --model.embed-features 4 --optimizer.warmup-steps 3 "
TINY += "--optimizer.learning-rate 0.03"


call = functools.partial(cases.call, study_of_spelling.main)


def bars(path, count=64, seed=0, **changes):
    """A bar that lies, called "ab", or stands, called "c", in images of 4 x 8."""
    rng = np.random.default_rng(seed)
    images, texts = np.zeros((count, 4, 8), np.uint8), np.array(["ab", "c"])[np.arange(count) % 2]
    for image, text in zip(images, texts, strict=True):
        row, column = rng.integers(4), rng.integers(5)
        image[(row, slice(column, column + 4)) if text == "ab" else (slice(None), column)] = 255
    arrays = {"images": images, "texts": texts} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def idx(path, array):
    path.write_bytes(struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())
    return path


def test_names_of_numbers():
    names = [english(number) for number in range(100)]
    assert names[:3] == ["zero", "one", "two"]
    assert [names[n] for n in (11, 13, 18, 20, 45, 90, 99)] == [
        *("eleven", "thirteen", "eighteen", "twenty", "forty-five", "ninety", "ninety-nine"),
    ]
    assert len(set(names)) == 100


def test_sums_are_of_the_digits_that_are_seen():
    digits = Labelled([np.full((28, 28), n / 10, np.float32) for n in range(10)], list(map(str, range(10))), ["x"] * 10)
    found = digit_sums(digits, 50, seed=0)
    for image, text in zip(found.sequences, found.targets, strict=True):
        assert (image.shape, image.dtype) == ((28, 56, 1), np.uint8)
        numbers = (image[0, [0, 55], 0] / 25.5).round().astype(int)
        assert text == english(int(numbers.sum()))
    found = named_digits(digits, 20, seed=0)
    assert sorted(found.targets) == sorted(english(n) for n in range(10))
    for image, text in zip(found.sequences, found.targets, strict=True):
        assert text == english(int((image[0, 0, 0] / 25.5).round()))


def test_images_are_read_as_they_are(tmp_path):
    found = read_images(bars(tmp_path / "a.npz"))
    content = np.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(np.stack(found.sequences)[:, :, :, 0], content["images"])
    assert (found.targets, found.places[3]) == (content["texts"].tolist(), f"{tmp_path / 'a.npz'}, image 3")
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4)).astype(np.uint8)
    paths = idx(tmp_path / "images", images), idx(tmp_path / "labels", np.array([7, 0, 99], np.uint8))
    found = read_idx_images(*paths)
    np.testing.assert_array_equal(np.stack(found.sequences)[:, :, :, 0], images)
    assert found.targets == ["7", "0", "99"]
    with pytest.raises(InputError, match=r"images has 3 images and .*labels 2 labels; expected as many"):
        read_idx_images(paths[0], idx(paths[1], np.array([1, 2], np.uint8)))


BAD = np.zeros((64, 4, 8), np.float32)
BAD[5, 1, 2] = -0.5
BLANK = np.array(["ab", "c"] * 32)
BLANK[9] = ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": None}, "expected the arrays images, texts, got images"),
        ({"lengths": np.ones(64)}, "expected the arrays images, texts, got images, lengths, texts"),
        ({"images": BAD[0]}, r"images must be uint8, or floats in \[0, 1\], \[N, H, W\] or \[N, H, W, C\]"),
        ({"images": BAD}, r"image 5, row 1, column 2: expected a number in \[0, 1\], got -0.5"),
        ({"texts": BLANK[:3]}, r"texts must be texts \[64\], as images, got <U2 \[3\]"),
        ({"texts": np.arange(64)}, r"texts must be texts \[64\], as images, got int64 \[64\]"),
        ({"texts": BLANK}, "image 9: expected a text that is not blank, got ''"),
        ({"texts": BLANK.astype(object)}, "the array texts can't be read: it holds Python objects"),
    ],
)
def test_a_bad_file_is_told_by_its_place(changes, message, tmp_path):
    path = bars(tmp_path / "bad.npz", **changes)
    with pytest.raises(InputError, match=message) as error:
        read_images(path)
    assert str(error.value).startswith(str(path))


def test_a_picture_comes_in_the_colours_that_were_learned(tmp_path):
    pixels, path = np.random.default_rng(0).integers(0, 256, (4, 8, 3)).astype(np.uint8), tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(read_picture(path, (4, 8, 3)).sequences[0], pixels)
    grey = read_picture(path, (4, 8, 1)).sequences[0]
    np.testing.assert_allclose(grey[..., 0], pixels @ [0.299, 0.587, 0.114], atol=1)
    for mode in ("L", "LA", "RGBA"):
        Image.fromarray(grey[..., 0]).convert(mode).save(path)
        np.testing.assert_array_equal(read_picture(path, (4, 8, 1)).sequences[0], grey)
        np.testing.assert_array_equal(read_picture(path, (4, 8, 3)).sequences[0], np.repeat(grey, 3, axis=-1))
    for mode in ("1", "P"):
        Image.fromarray(np.where(grey[..., 0] > 99, 255, 0).astype(np.uint8)).convert(mode).save(path)
        np.testing.assert_array_equal(read_picture(path, (4, 8, 1)).sequences[0], np.where(grey > 99, 255, 0))


def test_a_picture_that_can_not_be_read(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 8, 3)).astype(np.uint8)).save(path)
    with pytest.raises(InputError, match="must be 4 x 8 pixels wide and high, got 8 x 4"):
        read_picture(path, (8, 4, 3))
    whole = path.read_bytes()
    Image.fromarray(np.zeros((4, 8, 4), np.uint8)).save(path)
    with pytest.raises(InputError, match="has transparent pixels"):
        read_picture(path, (4, 8, 1))
    Image.fromarray(np.zeros((4, 8), np.uint16)).save(path)
    with pytest.raises(InputError, match="must have 8 bits a pixel and colour, got Pillow's mode I;16"):
        read_picture(path, (4, 8, 1))
    header = b"IHDR" + struct.pack(">IIBBBBB", 40000, 40000, 8, 0, 0, 0, 0)
    size = struct.pack(">I", 13)
    path.write_bytes(whole[:8] + size + header + struct.pack(">I", zlib.crc32(header)) + whole[33:])
    with pytest.raises(InputError, match="is not a readable image: Image size"):
        read_picture(path, (4, 8, 1))
    path.write_bytes(whole)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match="is not a readable image"):
        read_picture(path, (4, 8, 3))
    with pytest.raises(InputError, match="is not a readable image"):
        read_picture(tmp_path / "nowhere.png", (4, 8, 3))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on bars, with its baselines; its folder and its summary."""
    folder = tmp_path_factory.mktemp("runs")
    data, out = bars(folder / "bars.npz", 200), folder / "run"
    arguments = [*TINY.split(), "--epochs", 5, "--data", data, "--out", out]
    assert cases.run_quietly(study_of_spelling.main, arguments) == 0
    return out, json.loads((out / "summary.json").read_text())


def test_a_run_learns_writes_everything_and_names_every_figure(trained):
    out, summary = trained
    for name in ("config.json", "vocabulary.json", "metrics.jsonl", "loss.png", "attention.png"):
        assert (out / name).stat().st_size > 0
    assert summary["test_accuracy"] == 1.0
    assert summary["test_character_accuracy"] == 1.0
    assert summary["baseline_majority_test_accuracy"] == pytest.approx(0.5, abs=0.1)
    assert 0.0 <= summary["baseline_cnn_test_accuracy"] <= 1.0
    model, symbols = load_model(out)
    assert isinstance(symbols, Characters)
    images = list(np.load(out.parent / "bars.npz")["images"][:3, :, :, None])
    assert [one.text for one in write_texts(model, symbols, images)] == ["ab", "c", "ab"]


def test_texts_of_other_images(trained, tmp_path, monkeypatch, capsys):
    path, out = bars(tmp_path / "more.npz", 5, seed=3, texts=None), tmp_path / "said.csv"
    arguments = ["--checkpoint", trained[0], "--out", out, "--predict"]
    code, printed, err = call([*arguments, path], monkeypatch, capsys)
    assert (code, err, printed) == (0, "", f"5 texts in {out}\n")
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == ["ab", "c", "ab", "c", "ab"]
    assert rows[4]["place"] == f"{path}, image 4"
    picture = tmp_path / "one.png"
    Image.fromarray(np.load(path)["images"][1]).save(picture)
    code, printed, err = call([*arguments, picture], monkeypatch, capsys)
    assert (code, err, printed) == (0, "", f"1 texts in {out}: c\n")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(picture)
    code, _, err = call([*arguments, picture], monkeypatch, capsys)
    assert (code, err) == (2, f"error: {picture} must be 8 x 4 pixels wide and high, got 4 x 4")
    np.savez(path, images=np.zeros((1, 4, 4)))
    code, _, err = call([*arguments, path], monkeypatch, capsys)
    assert (code, err) == (2, f"error: {path} has images [4, 4, 1]; expected [4, 8, 1]")


def test_stopped_and_resumed_is_uninterrupted(tmp_path, monkeypatch, capsys):
    """The statistics of batch normalisation go on as well; symbols that training has not are told of."""
    data = bars(tmp_path / "bars.npz", 24)
    test = bars(tmp_path / "test.npz", 4, texts=np.array(["ab", "c", "abq", "zc"]))
    whole, part = tmp_path / "whole", tmp_path / "part"
    arguments = [*TINY.split(), "--epochs", "3", "--data", data, "--test", test, "--no-baselines"]
    code, _, err = call([*arguments, "--out", whole], monkeypatch, capsys)
    assert code == 0, err
    said = f"warning: 2 of 4 texts have symbols never seen in training, the first {test}, image 2: 'q'"
    assert said in err
    save = study.training.Checkpoints.save
    with monkeypatch.context() as patch:

        def fail(self, state, *rest, **named):
            save(self, state, *rest, **named)
            raise KeyboardInterrupt

        patch.setattr(study.training.Checkpoints, "save", fail)
        assert call([*arguments, "--out", part], patch, capsys)[0] == 130
    assert call(["--resume", "--out", part], monkeypatch, capsys)[0] == 0
    assert (part / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    figures = [json.loads((folder / "summary.json").read_text()) for folder in (whole, part)]
    assert figures[0]["test_loss"] == figures[1]["test_loss"]
    assert figures[0]["test_accuracy"] <= 0.5  # what can't be written is wrong


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "--data must name a file, or one of digit, sum; or --images and --labels two files"),
        ("--data a.npz --test small.npz", "small.npz has images [4, 4, 1]; expected [4, 8, 1]"),
        ("--images i.idx", "images and labels are two files that belong together; only one of them is given"),
        ("--images i.idx --labels l.idx", "i.idx, image 1 has the label 100; expected 0 to 99, which can be spelled"),
        ("--images i.idx --labels l.idx --data a.npz", "images and labels take the place of data"),
        ("--images i.idx --labels l.idx --count 8", "count is for digit and sum; a file has as many as it has"),
        ("--data sum --test a.npz", "test is for images from a file; sum makes its own"),
        ("--data a.npz --model.vocab-size 4", "--model.vocab-size is for the data to decide; leave it out"),
    ],
)
def test_what_a_command_can_not_use(more, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    bars(tmp_path / "a.npz")
    bars(tmp_path / "small.npz", images=np.zeros((64, 4, 4), np.uint8))
    idx(tmp_path / "i.idx", np.zeros((2, 4, 8), np.uint8))
    idx(tmp_path / "l.idx", np.array([3, 100], np.uint8))
    code, _, err = call([*TINY.split(), *more.split(), "--out", "run"], monkeypatch, capsys)
    assert (code, message in err) == (2, True), err


def test_files_of_mnists_format_are_spelled_and_named_sets_part_the_digits(tmp_path, monkeypatch):
    numbers = np.arange(40, dtype=np.uint8) % 3
    files = idx(tmp_path / "i.idx", np.zeros((40, 4, 8), np.uint8)), idx(tmp_path / "l.idx", numbers)
    data = study_of_spelling.load(study_of_spelling.SpellConfig(images=files[0], labels=files[1]))
    assert {text for part in data.parts for text in part.targets} == {"zero", "one", "two"}

    def digits(level):
        return Labelled([np.full((28, 28), level, np.float32)] * 9, list("012345678"), ["here"] * 9)

    monkeypatch.setattr(datasets, "mnist_rows", lambda: datasets.Splits(digits(0.2), digits(0.4), digits(0.6)))
    for name in ("digit", "sum"):
        data, again = (
            study_of_spelling.load(study_of_spelling.SpellConfig(data=name, count=8, seed=seed)) for seed in (0, 5)
        )
        assert [{int(image.max()) for image in part.sequences} for part in data.parts] == [{51}, {102}, {153}]
        assert data.identity == again.identity
