"""The settings of a training run: from the command line, and to and from the run's folder."""

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from experiments import cli
from lstmjax import checks, training
from lstmjax.errors import InputError
from lstmjax.models import LanguageModelConfig

DESCRIPTION = """Train an LSTM language model on a text, one symbol at a time.

Writes checkpoints, metrics, a loss curve and a sample of generated text into one folder. Ctrl-C saves and says how to
go on. Exit codes: 0 done, 1 failed on the way, 2 the command or its input can't be used, 130 stopped."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Every setting of a run."""

    data: Path | None = None
    """UTF-8 text to learn from; without it, Python's own language reference (what help() shows)."""
    out: Path | None = None
    """Folder for everything the run writes; without it, the first free one of runs/NAME-1, runs/NAME-2, ..."""
    resume: bool = False
    """Go on with the stopped run in --out exactly as if it had never stopped; its own settings are used."""
    symbols: Literal["characters", "bytes"] = "characters"
    """What the text is cut into."""
    validation_fraction: float = 0.1
    """Share of the text, at its end, that is kept for validation, in (0, 1)."""
    batch_size: int = 32
    """B, how many streams the text is cut into and read side by side."""
    chunk_length: int = 64
    """T, steps of backpropagation through time in a batch."""
    steps: int = 1200
    """Optimisation steps."""
    log_every: int = 10
    """Steps between lines in the metrics file."""
    eval_every: int = 200
    """Steps between evaluations on the whole validation text; each is followed by a checkpoint."""
    keep: int = 2
    """How many of the newest checkpoints to keep, besides the best."""
    seed: int = 0
    """Fixes the initial parameters, dropout and the sample."""
    sample_length: int = 400
    """Symbols to generate at the end."""
    model: LanguageModelConfig = dataclasses.field(default_factory=LanguageModelConfig)
    optimizer: training.OptimizerConfig = dataclasses.field(default_factory=training.OptimizerConfig)

    def __post_init__(self) -> None:
        for name in ("batch_size", "chunk_length", "log_every", "eval_every", "keep", "sample_length"):
            checks.positive_int(name, getattr(self, name))
        checks.index("steps", self.steps, 1, 2**31 - 1)  # they are counted in int32
        checks.index("seed", self.seed, 0, 2**32 - 1)
        if not 0.0 < self.validation_fraction < 1.0:
            raise ValueError(f"validation_fraction must be in (0, 1), got {self.validation_fraction}")

    @property
    def symbol(self) -> str:
        return self.symbols.removesuffix("s")


def read_settings(arguments: Sequence[str]) -> tuple[TrainConfig, training.RunFolder]:
    """The config a command line asks for, and its run's folder.

    With --resume the config is the folder's own, and options that contradict it are refused.
    """
    config = cli.parse(TrainConfig, DESCRIPTION, arguments)
    if not config.resume:
        return config, _new_folder(config)
    if config.out is None:
        raise InputError("--resume needs --out, the folder of the run to go on with")
    folder = training.RunFolder(config.out)
    saved = dataclasses.replace(config_from_json(folder.read_config(), folder), out=config.out, resume=True)
    config = cli.parse(TrainConfig, DESCRIPTION, arguments, saved)
    folder.run_to_resume()
    was, now = _flat(config_to_json(saved)), _flat(config_to_json(config))
    for name in was.keys() - {"data"}:  # the text is known by its digest, so its file may have moved
        if was[name] != now[name]:
            raise InputError(
                f"{folder.path} is a run with --{name} {was[name]}, which can't go on with --{name} {now[name]}"
            )
    return config, folder


def config_to_json(config: TrainConfig) -> dict[str, Any]:
    """All that decides what a run computes: not where it is written, nor whether it was resumed."""
    fields = dataclasses.asdict(config)
    del fields["out"], fields["resume"]
    return fields | {"data": None if config.data is None else str(config.data.absolute())}


def config_from_json(fields: dict[str, Any], folder: training.RunFolder) -> TrainConfig:
    """What `config_to_json` gave, checked anew.

    Raises:
      InputError: a setting is missing, unknown, or outside its range.
    """
    try:
        nested: dict[str, Any] = {
            "data": None if fields["data"] is None else Path(fields["data"]),
            "model": LanguageModelConfig(**fields["model"]),
            "optimizer": training.OptimizerConfig(**fields["optimizer"]),
        }
        plain = {
            name: value for name, value in fields.items() if name not in (*nested, "format", "family", "run", "text")
        }
        return TrainConfig(**nested, **plain)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder.config} does not hold the settings of a training run: {error}") from error


def _new_folder(config: TrainConfig) -> training.RunFolder:
    if config.out is not None:
        folder = training.RunFolder(config.out)
        if folder.holds_a_run():
            raise InputError(
                f"{folder.path} already holds a run; add --resume to go on with it, or choose another --out"
            )
        return folder
    name = "python-reference" if config.data is None else config.data.stem
    for number in itertools.count(1):
        path = Path("runs", f"{name}-{number}")
        with contextlib.suppress(FileExistsError):  # making it is claiming it: a run started beside this one can't
            path.mkdir(parents=True)
            break
    return training.RunFolder(path)


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"num_layers": 2}} as {"model.num-layers": 2}, the way options are spelled."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        option = prefix + name.replace("_", "-")
        flat |= _flat(value, option + ".") if isinstance(value, dict) else {option: value}
    return flat
