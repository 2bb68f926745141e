"""Named sets: the user's own files first, downloads only as they were published, IDX files as they must be."""

import builtins
import gzip
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from lstmjax.data import datasets, downloads
from lstmjax.errors import InputError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's own folder, empty."""
    monkeypatch.setenv("LSTMJAX_DATA", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def write(folder, file, content):
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def test_japanese_vowels(folder):
    for part, label in (("TRAIN", "a"), ("TEST", "b")):
        write(folder, f"japanese_vowels/JapaneseVowels_{part}.ts", f"@classLabel true a b\n@data\n1,2:3,4:{label}\n")
    train, validation, test = datasets.japanese_vowels()
    assert (train.targets, validation, test.targets) == (["a"], None, ["b"])
    assert test.sequences[0].tolist() == [[1, 3], [2, 4]]


def test_sst2(folder):
    for part in ("train", "dev", "test"):
        write(folder, f"sst2/{part}.tsv", f'a {part} " film\t1\ndull\t0\ndull\t0\n')
    parts = datasets.sst2()
    assert [part.sequences[0] for part in parts] == ['a train " film', 'a dev " film', 'a test " film']
    assert all(part.targets == ["1", "0", "0"] for part in parts)


def test_names(folder):
    assert len(datasets.LANGUAGES) == 18
    for file in datasets.LANGUAGES:
        write(folder, file, f"Ó {Path(file).stem}\n\nSee \n")
    train, *others = datasets.names()
    assert train.sequences[:2] == ["Ó Arabic", "See"]
    assert train.targets[::2] == [Path(file).stem for file in datasets.LANGUAGES]
    assert train.places[1].endswith("Arabic.txt, row 3")
    assert others == [None, None]


@pytest.fixture
def digits(folder):
    """Six thousand digits of two rows and three columns, and what is in them."""
    images = np.random.default_rng(1).integers(0, 256, (6000, 2, 3), np.uint8)
    for part, count in (("train", 6000), ("t10k", 7)):
        write(folder, f"mnist/{part}-images-idx3-ubyte.gz", gzip.compress(idx(images[:count])))
        write(folder, f"mnist/{part}-labels-idx1-ubyte.gz", gzip.compress(idx(images[:count, 0, 0] % 10)))
    return images


def test_digits_row_by_row(digits):
    train, validation, test = datasets.mnist_rows()
    assert [len(part.sequences) for part in (train, validation, test)] == [1000, 5000, 7]
    np.testing.assert_array_equal(np.stack(test.sequences), digits[:7] / np.float32(255), strict=True)
    np.testing.assert_array_equal(np.stack(train.sequences + validation.sequences), digits / np.float32(255))
    assert train.targets + validation.targets == [str(digit) for digit in digits[:, 0, 0] % 10]
    assert validation.places[0].endswith("train-images-idx3-ubyte.gz, image 1000")


def test_digits_pixel_by_pixel(digits):
    pixels, permuted = (datasets.DATASETS[name]().test.sequences for name in ("mnist-pixels", "mnist-permuted"))
    np.testing.assert_array_equal(np.stack(pixels), digits[:7].reshape(7, 6, 1) / np.float32(255), strict=True)
    order = np.random.default_rng(0).permutation(6)
    assert order.tolist() != sorted(order)
    np.testing.assert_array_equal(np.stack(permuted), np.stack(pixels)[:, order], strict=True)


def test_digits_that_do_not_fit(digits, folder):
    write(folder, "mnist/t10k-labels-idx1-ubyte.gz", gzip.compress(idx(np.zeros(6, np.uint8))))
    with pytest.raises(InputError, match=r"t10k-images-.* has 7 images and .*t10k-labels-.* 6 labels"):
        datasets.mnist_rows()
    for kind, array in (("images-idx3", digits[:5000]), ("labels-idx1", digits[:5000, 0, 0])):
        write(folder, f"mnist/train-{kind}-ubyte.gz", gzip.compress(idx(array)))
    write(folder, "mnist/t10k-labels-idx1-ubyte.gz", gzip.compress(idx(np.zeros(7, np.uint8))))
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz has 5000 images; expected over 5000"):
        datasets.mnist_rows()


LABELS = idx(np.arange(3, dtype=np.uint8))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("file", b"", r"file must start with 0, 0, 8, 1 and the sizes, got \[\]"),
        ("file", LABELS[:6], r"must start with 0, 0, 8, 1 and the sizes, got \[0, 0, 8, 1, 0, 0\]"),
        ("file", idx(np.zeros((2, 2), np.uint8)), r"must start with 0, 0, 8, 1 .*, got \[0, 0, 8, 2, 0, 0, 0, 2\]"),
        ("file", LABELS[:-1], r"must have 3 bytes for \[3\], got 2"),
        ("file", LABELS + b"\0", r"must have 3 bytes for \[3\], got 4"),
        ("file.gz", LABELS, r"file\.gz can't be read: Not a gzipped file"),
        ("file.gz", gzip.compress(LABELS, mtime=0)[:-9], r"file\.gz can't be read: Compressed file ended"),
    ],
)
def test_what_is_no_idx_file(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        datasets.read_idx(tmp_path / name, 1)


def test_idx_files_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="nothing can't be read: No such file or directory"):
        datasets.read_idx(tmp_path / "nothing", 1)


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A folder in place of the web, with one file of 18, and the addresses asked for; the cache is new, too."""
    pooch = pytest.importorskip("pooch")
    asked = []

    def download(self, url, output_file, pooch, check_only=False):
        asked.append(url)
        shutil.copyfile(tmp_path / "web" / Path(url).name, output_file)

    write(tmp_path, "web/Irish.txt", "Adam\n")
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", download)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.setitem(downloads.SHA256, "names/languages/Irish.txt", hashlib.sha256(b"Adam\n").hexdigest())
    monkeypatch.delenv("LSTMJAX_DATA", raising=False)
    return asked


def test_a_file_is_downloaded_once(web, tmp_path):
    for _ in range(2):
        path = downloads.find("names/languages/Irish.txt")
        assert path == tmp_path / "cache" / "lstmjax" / "names" / "languages" / "Irish.txt"
        assert path.read_text() == "Adam\n"
    commit = "c520c52e68e945d88fff563dba1c028b6ec0197b"
    assert web == [f"https://raw.githubusercontent.com/spro/practical-pytorch/{commit}/data/names/Irish.txt"]


def test_the_folder_of_the_user_comes_first_and_is_not_looked_into(web, folder):
    write(folder, "names/languages/Irish.txt", "anything")
    assert downloads.find("names/languages/Irish.txt") == folder / "names/languages/Irish.txt"
    assert web == []
    (folder / "names/languages/Irish.txt").unlink()
    assert downloads.find("names/languages/Irish.txt").read_text() == "Adam\n"


def test_a_spoilt_cache_is_mended(web):
    downloads.find("names/languages/Irish.txt").write_text("spoilt")
    assert downloads.find("names/languages/Irish.txt").read_text() == "Adam\n"
    assert len(web) == 2


def test_downloads_that_fail(web, tmp_path):
    with pytest.raises(InputError, match=r"Greek\.txt can't be downloaded from https://.*/Greek\.txt: .*No such file"):
        downloads.find("names/languages/Greek.txt")
    write(tmp_path, "web/Irish.txt", "other")
    with pytest.raises(InputError, match=r"Irish\.txt at https://.* is not what was published there before: its sha"):
        downloads.find("names/languages/Irish.txt")
    assert not list((tmp_path / "cache").rglob("*.txt"))


def test_without_pooch(folder, monkeypatch):
    whole_import = builtins.__import__

    def without_pooch(name, *rest):
        if name == "pooch":
            raise ImportError(name)
        return whole_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pooch)
    with pytest.raises(InputError, match=r"sst2/dev\.tsv is not in the folder that LSTMJAX_DATA names, and pooch"):
        downloads.find("sst2/dev.tsv")


def test_names_that_are_none(folder, monkeypatch):
    with pytest.raises(ValueError, match=r"file must be one of 'japanese_vowels/.*', got 'sst2/other\.tsv'"):
        downloads.find("sst2/other.tsv")
    monkeypatch.setenv("LSTMJAX_DATA", str(folder / "nowhere"))
    with pytest.raises(InputError, match=r"variable LSTMJAX_DATA must name a folder of data sets, got '.*nowhere'"):
        downloads.find("sst2/dev.tsv")


def test_every_file_has_a_source_and_a_digest():
    folders = {file.rpartition("/")[0] for file in downloads.SHA256}
    assert folders == {*downloads.SOURCES, *downloads.RESTRICTED}
    assert not downloads.SOURCES.keys() & downloads.RESTRICTED.keys()
    assert all(len(digest) == len(bytes.fromhex(digest)) * 2 == 64 for digest in downloads.SHA256.values())
    assert len(set(downloads.SHA256.values())) == len(downloads.SHA256)
