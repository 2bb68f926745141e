"""A run's folder: its settings, vocabulary, metrics, plots and checkpoints, each under one fixed name.

config.json       every setting of the run
vocabulary.json   the symbols
metrics.jsonl     a JSON object a line; the same for the same settings, whenever the run was stopped and resumed
checkpoints/      one folder a step
loss.png, sample.txt, summary.json   written at the end
"""

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from lstmjax.errors import InputError
from lstmjax.files import replace_text


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The paths inside a run's folder."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def vocabulary(self) -> Path:
        return self.path / "vocabulary.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def curve(self) -> Path:
        return self.path / "loss.png"

    @property
    def sample(self) -> Path:
        return self.path / "sample.txt"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    def holds_a_run(self) -> bool:
        return self.config.exists()

    def create(self, bytes_needed: int) -> None:
        """Make the folder, and find out now rather than hours later that nothing can be written to it.

        Raises:
          InputError: it can't be made, can't be written to, or has less than `bytes_needed` free.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(b"probe")
            free = shutil.disk_usage(self.path).free
        except OSError as error:
            raise InputError(f"the output folder {self.path} can't be written to: {error.strerror}") from error
        if free < bytes_needed:
            raise InputError(
                f"the output folder {self.path} has {free / 1e6:.0f} MB free, "
                f"and this run's checkpoints need about {bytes_needed / 1e6:.0f} MB"
            )

    def write_config(self, config: dict[str, Any]) -> None:
        replace_text(self.config, json.dumps(config, indent=2) + "\n")

    def read_config(self) -> dict[str, Any]:
        """What `write_config` wrote.

        Raises:
          InputError: the folder is missing, is no run's folder, or its settings are damaged.
        """
        if not self.path.is_dir():
            raise InputError(f"{self.path} is not a folder; expected the folder of a training run")
        if not self.holds_a_run():
            raise InputError(f"{self.path} is not the folder of a training run: it has no {self.config.name}")
        try:
            config = json.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.config} can't be read: {error}") from error
        if not isinstance(config, dict):
            raise InputError(f"{self.config} must hold a JSON object, got {type(config).__name__}")
        return config
