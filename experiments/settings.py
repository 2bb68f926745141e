"""The settings of a run: what every study has, and how a run's folder keeps them for those who resume it."""

import dataclasses
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from lstmjax import checks, training
from lstmjax.data.source import Source
from lstmjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The settings that every study has."""

    out: Path | None = None
    """Folder for everything the run writes; without it, the first free one of runs/NAME-1, runs/NAME-2, ..."""
    resume: bool = False
    """Go on with the stopped run in --out exactly as if it had never stopped; its own settings are used."""
    batch_size: int = 32
    """B, rows of a batch."""
    log_every: int = 10
    """Steps between lines in the metrics file."""
    patience: int | None = None
    """Stop early after so many evaluations in a row without a better validation score."""
    keep: int = 2
    """How many of the newest checkpoints to keep, besides the best."""
    seed: int = 0
    """Fixes the initial parameters and all noise."""
    optimizer: training.OptimizerConfig = dataclasses.field(default_factory=training.OptimizerConfig)

    def __post_init__(self) -> None:
        for name in ("batch_size", "log_every", "keep"):
            checks.positive_int(name, getattr(self, name))
        if self.patience is not None:
            checks.positive_int("patience", self.patience)
        checks.index("seed", self.seed, 0, 2**32 - 1)
        if self.out is not None and str(self.out) in ("", "."):
            raise ValueError(f"out must name a folder of the run's own, got {str(self.out)!r}")

    def cadence(self, train: Source[Any]) -> training.Cadence:
        """How long to train on a source and how often to look."""
        raise NotImplementedError

    def score(self, figures: dict[str, float]) -> float:
        """What of an evaluation's figures should become low; the model with the lowest is the one to keep."""
        return figures["loss"]


@dataclasses.dataclass(frozen=True)
class StepsConfig(RunConfig):
    """A run that is so many steps long."""

    steps: int = 1200
    """Optimisation steps."""
    eval_every: int = 200
    """Steps between evaluations on all validation data; each is followed by a checkpoint."""

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive_int("eval_every", self.eval_every)
        checks.index("steps", self.steps, 1, 2**31 - 1)  # they are counted in int32

    def cadence(self, train: Source[Any]) -> training.Cadence:
        return training.Cadence(self.steps, self.log_every, self.eval_every, self.patience)


@dataclasses.dataclass(frozen=True)
class EpochsConfig(RunConfig):
    """A run of so many passes over the training data, each followed by an evaluation and a checkpoint."""

    epochs: int = 20
    """Passes over the training data."""

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive_int("epochs", self.epochs)

    def cadence(self, train: Source[Any]) -> training.Cadence:
        return training.Cadence.of_epochs(self.epochs, train, self.log_every, self.patience)


Config = TypeVar("Config", bound=RunConfig)


def decided_by_data(config: Any, **decided: Any) -> Any:
    """The config of a run's model with what the data decide, which no option may contradict.

    Raises:
      InputError: one does; of a resumed run, whose model is known, the data are others.
    """
    for name, value in decided.items():
        if getattr(config.model, name) not in (None, value):
            raise not_for(config, f"--model.{name.replace('_', '-')} is for the data to decide; leave it out")
    return dataclasses.replace(config.model, **decided)


def not_for(config: RunConfig, sentence: str) -> InputError:
    """What is wrong where data and settings do not go together; a resumed run's settings went with its data."""
    return InputError(other_data(config.out) if config.resume else sentence)


def other_data(folder: Path | None) -> str:
    return f"the data are not those that the run in {folder} was trained on"


def to_json(config: RunConfig) -> dict[str, Any]:
    """All that decides what a run computes: not where it is written, nor whether it was resumed."""
    fields = dataclasses.asdict(config)
    del fields["out"], fields["resume"]
    return {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in fields.items()}


def from_json(kind: type[Config], fields: dict[str, Any], folder: training.RunFolder) -> Config:
    """What `to_json` gave, checked anew.

    Raises:
      InputError: a setting is missing, unknown, or outside its range.
    """
    own = {name: value for name, value in fields.items() if name not in ("format", "family", "identity", "run")}
    try:
        return typing.cast(Config, _dataclass(kind, own, absent=("out", "resume")))
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder.config} does not hold the settings of a training run: {error}") from error


def _dataclass(kind: type[Any], fields: Any, absent: Sequence[str] = ()) -> Any:
    """A dataclass of plain values, paths and further dataclasses; every field must be there."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.name not in absent]
    if not isinstance(fields, dict) or fields.keys() != set(names):
        got = ", ".join(fields) if isinstance(fields, dict) else repr(fields)
        raise ValueError(f"expected {', '.join(names)}; got {got or 'nothing'}")
    return kind(**{name: _value(hints[name], fields[name]) for name in names})


def _value(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(type[Any], hint), value)
    alternatives = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return Path(value) if Path in alternatives and value is not None else value


def check_alike(saved: RunConfig, asked: RunConfig, folder: training.RunFolder) -> None:
    """Nothing that is asked for contradicts what a run was begun with.

    Raises:
      InputError: something does.
    """
    was, now = _by_option(to_json(saved)), _by_option(to_json(asked))
    for name in was.keys() - {"data"}:  # data are known by their identity, so their file may have moved
        if was[name] != now[name]:
            raise InputError(
                f"{folder.path} is a run with --{name} {was[name]}, which can't go on with --{name} {now[name]}"
            )


def _by_option(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"num_layers": 2}} as {"model.num-layers": 2}, the way options are spelled."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        option = prefix + name.replace("_", "-")
        flat |= _by_option(value, option + ".") if isinstance(value, dict) else {option: value}
    return flat
