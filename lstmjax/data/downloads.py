"""The files of the named sets: looked for in a folder of the user's, then in a cache, then downloaded."""

import os
from pathlib import Path

from lstmjax import checks
from lstmjax.errors import InputError

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
    "japanese_vowels/JapaneseVowels_TEST.ts": "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
    "japanese_vowels/JapaneseVowels_TRAIN.ts": "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
    "jsb_chorales/jsb-chorales-quarter.json": "2db9329f1881a1d3f49703ec556bf1d6f84b4f6c1d702c156536e93cf31e1c91",
    "mnist/t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "mnist/t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    "mnist/train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "mnist/train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "multi30k/test_2016_flickr.de.gz": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "multi30k/test_2016_flickr.en.gz": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "multi30k/train.de.gz": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "multi30k/train.en.gz": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "multi30k/val.de.gz": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "multi30k/val.en.gz": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "names/languages/Arabic.txt": "6f424a8dbe51cbbbabab7a57d38b617210125e4e3991f3c657cb79b8f104bafc",
    "names/languages/Chinese.txt": "09ba8f1f7e38dbc99372d461b26ad4433b811fc6bfa6a3ecca6fe11a9a777465",
    "names/languages/Czech.txt": "e17ab0ec47616a72c39cb85c783f70c3663ab64488721e5d8378f146d2226be7",
    "names/languages/Dutch.txt": "924f32b635170eae561f84538632138fc07d4c8bbd70ba3fb980de1ecc4d2af3",
    "names/languages/English.txt": "9cca037066d3d5989e24bc01801416162de506b5e28e15b7c092a47905d29bf2",
    "names/languages/French.txt": "81e65b36c60ed5b89a17422f6edcadbb89546f38ad69e960e64e7ba682012a95",
    "names/languages/German.txt": "7449cd590b97a733e18d613a4155decd77ec35dc5f8aadd7a82204dce4f051db",
    "names/languages/Greek.txt": "3555b5186de7f401e6d991b088e9e644ca3099116477818c25ab5793801389e6",
    "names/languages/Irish.txt": "cf8c7013256252a88d2503127b87282a11f21b2ff6db1bded68834c19a1ec058",
    "names/languages/Italian.txt": "f88414c27d0606a11a678b4859277828c2565d6cc4d9ee932deef6e94f3b35e4",
    "names/languages/Japanese.txt": "e0e717e114fec3e7eade4d9dabe0067c475f43147e36a22b47902ee76ad9e67f",
    "names/languages/Korean.txt": "cd54221ccb362a6cba4c78828838cf3268a0e59744767a37cf6ec4b74036b136",
    "names/languages/Polish.txt": "45bab898af2f60ed3a728bbf6980e28821011a7caa53227553b5785903a40826",
    "names/languages/Portuguese.txt": "50a8735f41f4f73757c8ce5b16cb0275cd86b2b214bcbc8c9805f508cb131c53",
    "names/languages/Russian.txt": "0cfe53ac18041e8f63666aa77313e0a3ff378facb132abee052d8ebdc8c3d62c",
    "names/languages/Scottish.txt": "78d0252711d87d948ea86fe34826c51d2d794a8e52d15b5d6f7b6244d45d62dd",
    "names/languages/Spanish.txt": "1bcb462ed3316756a85781d68232bddae04498fdddd5d9219c53fd1fbdeba7a7",
    "names/languages/Vietnamese.txt": "f3f9e4164ab47601178a6e45b216464a64122f49d05541f24bf18a757253281d",
    "names/names.txt": "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
    "ptb/ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
    "ptb/ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "ptb/ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "sst2/dev.tsv": "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359",
    "sst2/test.tsv": "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7",
    "sst2/train.tsv": "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
    "ett/ETTh1.csv": "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    "timeseries/airline-passengers.csv": "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621",
    "timeseries/daily-min-temperatures.csv": "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da",
    "timeseries/monthly-sunspots.csv": "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3",
    "ud_english_ewt/en_ewt-ud-dev.conllu": "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
    "ud_english_ewt/en_ewt-ud-test.conllu": "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
    "ud_english_ewt/en_ewt-ud-train.conllu": "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b",
    "wikitext-2/test.txt": "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
    "wikitext-2/train.txt": "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
    "wikitext-2/valid.txt": "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
    "wnut17/emerging.dev.conll": "e053b752b8155113ca66e7db08af5f2f5f43ab993694e4774f1ec5bad42312d8",
    "wnut17/emerging.test.annotated": "2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0",
    "wnut17/wnut17train.conll": "731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5",
}
"""Every file of the named sets, and the digest of what is published."""


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
