"""A run's folder: its settings, vocabulary, metrics, plots and checkpoints, each under one fixed name.

config.json       the format of the folder, the model's family, every setting of the run, and the run's identity
vocabulary.json   the symbols, where a model reads symbols
labels.json       the classes, where it says one
metrics.jsonl     a JSON object a line; the same for the same settings, whenever the run was stopped and resumed
checkpoints/      one folder a step
loss.png, sample.txt, summary.json   written at the end
"""

import contextlib
import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lstmjax.errors import InputError
from lstmjax.files import replace_text

FORMAT = 2
"""0, before folders had one: config.json has no format, family or run, and checkpoints less to say; 1: models lack the
settings that `lstmjax.saved.SINCE_FORMAT_2` names, which then have their defaults."""


class _Inside:
    """An attribute of a `RunFolder`: the path of a name in it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: "RunFolder", owner: type | None = None) -> Path:
        return run.path / self.name


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The paths inside a run's folder."""

    path: Path

    config = _Inside("config.json")
    vocabulary = _Inside("vocabulary.json")
    labels = _Inside("labels.json")
    metrics = _Inside("metrics.jsonl")
    checkpoints = _Inside("checkpoints")
    curve = _Inside("loss.png")
    sample = _Inside("sample.txt")
    summary = _Inside("summary.json")

    def holds_a_run(self) -> bool:
        return self.config.exists()

    def create(self, bytes_needed: int, *, resume: bool = False) -> None:
        """Make the folder, and find out now rather than hours later that nothing can be written to it.

        Args:
          bytes_needed: the room that the run's checkpoints take.
          resume: the checkpoints that are there are this run's own.

        Raises:
          InputError: it can't be made, can't be written to, has less than `bytes_needed` free, or holds the checkpoints
            of another run.
        """
        check_writable(self.path)
        if self.checkpoints.exists() and not self.checkpoints.is_dir():
            raise InputError(f"{self.checkpoints} must be a folder, and is a file")
        if not resume and self.checkpoints.is_dir() and any(self.checkpoints.iterdir()):
            raise InputError(f"{self.checkpoints} holds the checkpoints of another run; choose another folder")
        free = shutil.disk_usage(self.path).free
        if free < bytes_needed:
            raise InputError(
                f"the output folder {self.path} has {_size(free)} free, "
                f"and this run's checkpoints need about {_size(bytes_needed)}"
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder for this process; the system releases the lock however the process ends.

        Raises:
          InputError: another process has it.
        """
        import fcntl  # where a library that only reads folders is used on Windows, it is not there

        with open(self.path / ".lock", "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"{self.path} is in use by another process; wait until it has ended") from error
            yield

    def write_config(self, settings: dict[str, Any]) -> None:
        """Write the settings, and with them the folder's format."""
        replace_text(self.config, json.dumps({"format": FORMAT} | settings, indent=2) + "\n")

    def read_config(self) -> dict[str, Any]:
        """What `write_config` wrote; its "format" is 0 where none had been written yet.

        Raises:
          InputError: the folder is missing, is no run's folder, its settings are damaged, or a newer version wrote it.
        """
        if not self.path.is_dir():
            raise InputError(f"{self.path} is not a folder; expected the folder of a training run")
        if not self.holds_a_run():
            raise InputError(f"{self.path} is not the folder of a training run: it has no {self.config.name}")
        try:
            settings = json.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{self.config} can't be read: {error}") from error
        if not isinstance(settings, dict):
            raise InputError(f"{self.config} must hold a JSON object, got {type(settings).__name__}")
        found = settings.get("format", 0)
        if found not in range(FORMAT + 1):
            raise InputError(f"{self.config} has format {found!r}; this version of lstmjax reads up to {FORMAT}")
        return {"format": found} | settings

    def run_to_resume(self) -> str:
        """The identity that `write_config` was given as "run".

        Raises:
          InputError: the folder is from before runs had one.
        """
        run = self.read_config().get("run")
        if not isinstance(run, str):
            raise InputError(
                f"{self.path} was written by an older version: its model can be loaded, but it can't be gone on with"
            )
        return run


def identity_of(settings: dict[str, Any]) -> str:
    """What tells a run from others: a digest of what decides its numbers, settings and data, in hex.

    >>> identity_of({"seed": 0}) == identity_of({"seed": 0}) != identity_of({"seed": 1})
    True
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def check_writable(folder: Path) -> None:
    """Make a folder if need be, and write a probe that leaves nothing behind.

    Raises:
      InputError: it can't be made or can't be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"probe")
    except OSError as error:
        raise InputError(f"the output folder {folder} can't be written to: {error.strerror}") from error


def _size(count: int) -> str:
    """A number of bytes, as people say it.

    >>> [_size(count) for count in (12, 3456, 7_890_000, 2_000_000_000_000)]
    ['12 bytes', '3.5 kB', '7.9 MB', '2000.0 GB']
    """
    for power, unit in ((9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count} bytes"
