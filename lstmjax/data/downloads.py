"""The files of the named sets: looked for in a folder of the user's, then in a cache, then downloaded."""

import os
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from lstmjax import checks
from lstmjax.errors import InputError

PartT = TypeVar("PartT")

FOLDER = "LSTMJAX_DATA"
"""The environment variable that names the user's own folder of sets."""

GITHUB = "https://raw.githubusercontent.com"
SOURCES = {
    "japanese_vowels": f"{GITHUB}/aeon-toolkit/aeon/a101ddc8b35a65441609b45c9bcce5aeafa0c131"
    "/aeon/datasets/data/JapaneseVowels",
    "jsb_chorales": f"{GITHUB}/czhuang/JSB-Chorales-dataset/9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d",
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist",
    "multi30k": f"{GITHUB}/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw",
    "names": f"{GITHUB}/karpathy/makemore/988aa59e4d8fefa526d06f3b453ad116258398d4",
    "names/languages": f"{GITHUB}/spro/practical-pytorch/c520c52e68e945d88fff563dba1c028b6ec0197b/data/names",
    "sst2": f"{GITHUB}/clairett/pytorch-sentiment-classification/457ffd83de90a9d6d472d8ffc31bbffe40a8b236/data/SST2",
    "ett": f"{GITHUB}/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small",
    "timeseries": f"{GITHUB}/jbrownlee/Datasets/d20fcb6402ae34e653d4513b00f39257bb37ed7f",
    "ud_english_ewt": f"{GITHUB}/UniversalDependencies/UD_English-EWT/15d613d8447b3478787d4c278730a1e48a945efb",
    "wikitext-2": f"{GITHUB}/pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8"
    "/word_language_model/data/wikitext-2",
    "wnut17": f"{GITHUB}/leondz/emerging_entities_17/e52a2d2a71ac1a051ca2d532eef28653c5c02603",
}
"""Where the files of each folder are published, never to change."""

RESTRICTED = {"ptb": "the Penn Treebank's text is licensed by the Linguistic Data Consortium and is not downloaded"}
"""Folders of sets that a user must bring, and why."""

SHA256 = {
    file: digest for digest, file in map(str.split, Path(__file__).with_name("sha256.txt").read_text().splitlines())
}
"""Every file of the named sets, and the digest of what is published: `sha256.txt`, as `sha256sum --check` reads it."""


class Parts(NamedTuple, Generic[PartT]):
    """What there is of a set to train, to validate and to test."""

    train: PartT
    validation: PartT
    test: PartT


def find(file: str, *, packed: bool = False) -> Path:
    """A file of a named set: the user's own in the folder that LSTMJAX_DATA names, else a download kept in a cache.

    What is downloaded must have the digest it had when this was written; the user's own files are not looked into.

    Args:
      file: one of `SHA256`, such as "sst2/train.tsv".
      packed: the user's own may also be gzipped, with `.gz` after its name; it is found so where it is not there plain.

    Returns:
      where it is.

    Raises:
      ValueError: another name.
      InputError: LSTMJAX_DATA names no folder, the file can't be downloaded, or pooch, which would, is not there.

    >>> import tempfile, unittest.mock
    >>> with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.dict(os.environ, LSTMJAX_DATA=folder):
    ...     Path(folder, "sst2").mkdir()
    ...     _ = Path(folder, "sst2", "dev.tsv").write_text("well made\\t1\\n")
    ...     find("sst2/dev.tsv").relative_to(folder).as_posix()
    'sst2/dev.tsv'
    """
    checks.one_of("file", file, tuple(SHA256))
    folder = os.environ.get(FOLDER)
    if folder and not Path(folder).is_dir():
        raise InputError(f"the environment variable {FOLDER} must name a folder of data sets, got {folder!r}")
    names = [file, f"{file}.gz"] if packed else [file]
    own = [Path(folder, name) for name in names if Path(folder, name).exists()] if folder else []
    return own[0] if own else _downloaded(file)


def _downloaded(file: str) -> Path:
    """The file in the user's cache, put there if it is not there yet."""
    folder, _, name = file.rpartition("/")
    if folder in RESTRICTED:
        raise InputError(f"{file} must be in a folder that {FOLDER} names: {RESTRICTED[folder]}")
    try:
        import pooch  # an optional dependency
    except ImportError:
        reason = f"is not in the folder that {FOLDER} names, and pooch, which would download it, is not installed"
        raise InputError(f"{file} {reason}: pip install 'lstmjax[experiments]'") from None
    url = f"{SOURCES[folder]}/{name}"
    try:
        return Path(pooch.retrieve(url, f"sha256:{SHA256[file]}", name, pooch.os_cache("lstmjax") / folder))
    except OSError as error:
        reason = f"{error or type(error).__name__}".partition("\n")[0]
        raise InputError(f"{file} can't be downloaded from {url}: {reason}") from error
    except ValueError as error:
        raise InputError(f"{file} at {url} is not what was published there before: its sha256 is another") from error
