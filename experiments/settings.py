"""The settings of a run: what every study has, and how a run's folder keeps them for those who resume it."""

import dataclasses
import types
import typing
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from flax.traverse_util import flatten_dict

from experiments.ranges import Checked, Fraction, Positive, Seed, at_least
from lstmjax import training
from lstmjax.data.source import Source
from lstmjax.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclasses.dataclass(frozen=True)
class RunConfig(Checked):
    """The settings that every study has."""

    out: Path | None = None
    """Folder for everything the run writes; without it, the first free one of runs/NAME-1, runs/NAME-2, ..."""
    resume: bool = False
    """Go on with the stopped run in --out exactly as if it had never stopped; its own settings are used."""
    batch_size: Positive = 32
    """B, rows of a batch."""
    log_every: Positive = 10
    """Steps between lines in the metrics file."""
    patience: Positive | None = None
    """Stop early after so many evaluations in a row without a better validation score."""
    keep: Positive = 2
    """How many of the newest checkpoints to keep, besides the best."""
    seed: Seed = 0
    """Fixes the initial parameters and all noise."""
    baselines: bool = True
    """Train the simple models too that this one should beat."""
    quick: bool = False
    """A look in about a minute: at most a few steps on a few examples."""
    optimizer: training.OptimizerConfig = training.OptimizerConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out is not None and str(self.out) in ("", "."):
            raise ValueError(f"out must name a folder of the run's own, got {str(self.out)!r}")

    def cadence(self, train: Source[Any]) -> training.Cadence:
        """How long to train on a source and how often to look."""
        raise NotImplementedError

    def score(self, figures: dict[str, float]) -> float:
        """What of an evaluation's figures should become low; the model with the lowest is the one to keep."""
        return figures["loss"]


Steps = Annotated[int, at_least(1, 2**31 - 1)]
"""They are counted in int32."""


@dataclasses.dataclass(frozen=True)
class StepsConfig(RunConfig):
    """A run that is so many steps long."""

    steps: Steps = 1200
    """Optimisation steps."""
    eval_every: Positive = 200
    """Steps between evaluations on all validation data; each is followed by a checkpoint."""
    quick_steps: ClassVar[int] = 60

    def cadence(self, train: Source[Any]) -> training.Cadence:
        steps = min(self.steps, self.quick_steps) if self.quick else self.steps
        return training.Cadence(steps, self.log_every, min(self.eval_every, steps), self.patience)


@dataclasses.dataclass(frozen=True)
class EpochsConfig(RunConfig):
    """A run of so many passes over the training data, each followed by an evaluation and a checkpoint."""

    epochs: Positive = 20
    """Passes over the training data."""
    quick_epochs: ClassVar[int] = 3

    def cadence(self, train: Source[Any]) -> training.Cadence:
        epochs = min(self.epochs, self.quick_epochs) if self.quick else self.epochs
        return training.Cadence.of_epochs(epochs, train, self.log_every, self.patience)


@dataclasses.dataclass(frozen=True)
class HeldOutConfig(Checked):
    """How much is held out of data that come without parts."""

    validation_fraction: Fraction = 0.1
    """Share of the data kept to choose the model by, where no part of its own is given, in (0, 1)."""
    test_fraction: Fraction = 0.2
    """Share of the data kept for the test, where no part of its own is given, in (0, 1)."""

    @property
    def fractions(self) -> tuple[float, float]:
        return self.validation_fraction, self.test_fraction


Config = TypeVar("Config", bound=RunConfig)
Model = TypeVar("Model", bound="DataclassInstance")


def decided_by_data(config: RunConfig, model: Model, **decided: object) -> Model:
    """The config of a run's model with what the data decide, which no option may contradict.

    Raises:
      InputError: one does; of a resumed run, whose model is known, the data are others.
    """
    for name, value in decided.items():
        if getattr(model, name) not in (None, value):
            raise not_for(config, f"--model.{name.replace('_', '-')} is for the data to decide; leave it out")
    return dataclasses.replace(model, **decided)


def keep_findable(config: RunConfig, data: str | None, named: Collection[str]) -> None:
    """Where --data is a file and no named set, have its whole path in the config: a resumed run may start elsewhere."""
    if data is not None and data not in named:
        object.__setattr__(config, "data", str(Path(data).absolute()))


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
    if isinstance(value, list):  # JSON has no tuples
        return tuple(value)
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


def _by_option(fields: dict[str, Any]) -> dict[str, Any]:
    """{"model": {"num_layers": 2}} as {"model.num-layers": 2}, the way options are spelled."""
    return {name.replace("_", "-"): value for name, value in flatten_dict(fields, sep=".").items()}  # type: ignore[no-untyped-call]
