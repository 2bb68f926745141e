"""Named series: read from the user's folder, plain or packed, else as they were published."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from lstmjax.data import downloads
from lstmjax.data.named_series import NAMED_SERIES
from lstmjax.errors import InputError

OWN = os.environ.get(downloads.FOLDER)
AIRLINE = '"Month","Passengers"\n"1949-01",112\n"1949-02",118\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's own folder, empty; there is no web and nothing in the cache."""
    pooch = pytest.importorskip("pooch")
    asked = []

    def no_web(self, url, output_file, pooch, check_only=False):
        asked.append(url)
        raise OSError("no web")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", no_web)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    (tmp_path / "own" / "timeseries").mkdir(parents=True)
    monkeypatch.setenv(downloads.FOLDER, str(tmp_path / "own"))
    return tmp_path / "own", asked


def test_plain_or_packed(folder):
    path = folder[0] / "timeseries" / "airline-passengers.csv"
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(AIRLINE.encode()))
    assert NAMED_SERIES["airline"].read().file == str(packed)
    path.write_text(AIRLINE)
    passengers = NAMED_SERIES["airline"].read()
    assert passengers.file == str(path)
    assert passengers.series[0].targets.tolist() == [[112.0], [118.0]]
    assert str(passengers.frequency) == "1 month"


def test_a_packed_twin_is_taken_only_where_the_reader_unpacks(folder):
    (folder[0] / "sst2").mkdir()
    (folder[0] / "sst2" / "dev.tsv.gz").touch()
    assert downloads.find("sst2/dev.tsv", packed=True).name == "dev.tsv.gz"
    with pytest.raises(InputError, match="can't be downloaded"):
        downloads.find("sst2/dev.tsv")


@pytest.mark.parametrize("name", NAMED_SERIES)
def test_where_it_is_asked_for(folder, name):
    entry = NAMED_SERIES[name]
    with pytest.raises(InputError, match=f"{entry.file} can't be downloaded from https://raw.* no web"):
        entry.read()
    (url,) = folder[1]
    repository = "zhouhaoyi/ETDataset" if name == "etth1" else "jbrownlee/Datasets"
    assert repository in url
    assert url.endswith(Path(entry.file).name)


@pytest.mark.parametrize("name", NAMED_SERIES)
def test_every_entry_fits_together(name):
    file, _, targets, source, split, season = NAMED_SERIES[name]
    assert file in downloads.SHA256
    assert targets
    assert "http" in source
    assert split is None or min(split) > 0
    assert season is None or season > 1


@pytest.mark.skipif(not OWN, reason=f"{downloads.FOLDER} names no folder of data sets")
@pytest.mark.parametrize(
    ("name", "shape", "frequency", "last", "gaps"),
    [
        ("etth1", (17420, 7), "1 hour", "2018-06-26T19", 0),
        ("airline", (144, 1), "1 month", "1960-12", 0),
        ("sunspots", (2820, 1), "1 month", "1983-12", 0),
        ("temperatures", (3652, 1), "1 day", "1990-12-31", 2),  # 31 December of both leap years is not in the file
    ],
)
def test_what_is_published(name, shape, frequency, last, gaps):
    found = NAMED_SERIES[name].read()
    (series,) = found.series
    assert series.targets.shape == shape
    assert str(found.frequency) == frequency
    assert series.times[-1] == np.datetime64(last, "us")
    assert np.isnan(series.targets).any(axis=1).sum() == gaps
    assert len(found.notes) == (gaps > 0)
    assert sum(NAMED_SERIES[name].split or (0,)) <= len(series.targets)


@pytest.mark.skipif(not OWN, reason=f"{downloads.FOLDER} names no folder of data sets")
@pytest.mark.parametrize("name", NAMED_SERIES)
def test_the_digest_is_of_what_is_published(name):
    path = downloads.find(NAMED_SERIES[name].file, packed=True)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == downloads.SHA256[NAMED_SERIES[name].file]
