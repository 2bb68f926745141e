"""The one way every study runs: a config and data become a run's folder, with progress, resume, figures and a summary.

A study is its config, where its data comes from, and its figures; all else is here.
"""

import contextlib
import dataclasses
import itertools
import json
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax
from flax import nnx

from experiments import cli
from experiments.observers import MetricsFile, ProgressLine
from experiments.signals import StopOnSignal
from lstmjax import checks, training
from lstmjax.data.source import Source
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import FAMILIES
from lstmjax.saved import load_model
from lstmjax.tasks import Task
from lstmjax.training.run_folder import identity_of


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """A run was asked to stop before its end; everything is saved."""


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


class Data(NamedTuple):
    """What a study learns from.

    Args:
      train: batches, without end.
      validation: batches that cover the validation data once.
      model: the family's config with every size that the data decides.
      save_companion: writes what goes with the model, such as its vocabulary, into the run's folder.
      identity: tells these data from others, whatever file they are in.
      symbols_per_step: for the speed that is shown.
      description: a line or two for the reader.
      test: batches that cover the test data once, for the figures at the end; None where there are none.
      prepare: gives a fresh model what the data bring, such as means and pretrained vectors.
      parts: whatever else of the data the study's `finish` asks for.
    """

    train: Source[Any]
    validation: Source[Any]
    model: Any
    save_companion: Callable[[training.RunFolder], None]
    identity: dict[str, Any]
    symbols_per_step: int
    description: str
    test: Source[Any] | None = None
    prepare: Callable[[nnx.Module], None] = lambda model: None
    parts: Any = None


class Run(NamedTuple):
    """A run under way: its settings, its data, its folder, the model with its task and optimiser, and its length."""

    config: Any
    data: Data
    folder: training.RunFolder
    model: nnx.Module
    task: Task
    optimizer: training.Optimizer
    cadence: training.Cadence


@dataclasses.dataclass(frozen=True)
class Study(Generic[Config]):
    """What tells one study from another.

    Args:
      module: where it is run from, as in `python -m module`.
      description: what --help says first.
      family: a key of `lstmjax.models.FAMILIES`.
      config: its settings.
      name: what its run's folder is called by default.
      load: reads the data.
      finish: draws its figures and gives its summary, every figure by its plain name, from the run, the best model
        and its companion.
    """

    module: str
    description: str
    family: str
    config: type[Config]
    name: Callable[[Config], str]
    load: Callable[[Config], Data]
    finish: Callable[[Run, nnx.Module, Any], dict[str, float]]


def run(study: Study[Config], arguments: Sequence[str]) -> int:
    """Do what a command line asks of a study; returns its exit code."""
    config = read_settings(study, arguments)
    cli.check_backend()
    data = study.load(config)
    folder = folder_of(study, config)
    try:
        complete(study, config, data, folder)
    except Stopped as stopped:
        print(f"{stopped}; everything is saved. To go on:")
        print(f"  {cli.command(study.module, '--resume', '--out', folder.path)}")
        return 130
    return 0


def complete(study: Study[Config], config: Config, data: Data, folder: training.RunFolder) -> dict[str, float]:
    """Train to the end in a folder of the run's own, or go on there; returns its summary.

    Raises:
      Stopped: it was asked to stop before.
    """
    run = _build(study, config, data, folder)
    key = jax.random.key(config.seed)
    state = training.initial_train_state(run.model, run.task, run.optimizer, config.batch_size, key)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves((state, run.optimizer.average(state.opt_state))))
    folder.create(bytes_needed=size * (config.keep + 2), resume=config.resume)
    with folder.lock():
        _write_settings(study, run)
        state, stopped, progress = _train(run, state)
        if stopped:
            raise Stopped(f"stopped at step {int(state.step)} of {run.cadence.steps}")
        return _finish(study, run, progress, int(state.step))


def read_settings(study: Study[Config], arguments: Sequence[str]) -> Config:
    """The config a command line asks for; with --resume that of the folder, and what contradicts it is refused."""
    config = cli.parse(study.config, study.description, arguments)
    if not config.resume:
        return config
    if config.out is None:
        raise InputError("--resume needs --out, the folder of the run to go on with")
    folder = training.RunFolder(config.out)
    fields = folder.read_config()
    folder.run_to_resume()
    if fields.get("family") != study.family:
        raise InputError(f"{folder.config} is of the family {fields.get('family')!r}, not {study.family!r}")
    saved = dataclasses.replace(config_from_json(study.config, fields, folder), out=config.out, resume=True)
    config = cli.parse(study.config, study.description, arguments, saved)
    was, now = _flat(config_to_json(saved)), _flat(config_to_json(config))
    for name in was.keys() - {"data"}:  # data are known by their identity, so their file may have moved
        if was[name] != now[name]:
            raise InputError(
                f"{folder.path} is a run with --{name} {was[name]}, which can't go on with --{name} {now[name]}"
            )
    return config


def config_to_json(config: RunConfig) -> dict[str, Any]:
    """All that decides what a run computes: not where it is written, nor whether it was resumed."""
    fields = dataclasses.asdict(config)
    del fields["out"], fields["resume"]
    return {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in fields.items()}


def config_from_json(kind: type[Config], fields: dict[str, Any], folder: training.RunFolder) -> Config:
    """What `config_to_json` gave, checked anew.

    Raises:
      InputError: a setting is missing, unknown, or outside its range.
    """
    own = {name: value for name, value in fields.items() if name not in ("format", "family", "identity", "run")}
    try:
        return typing.cast(Config, _from_json(kind, own, absent=("out", "resume")))
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder.config} does not hold the settings of a training run: {error}") from error


def _from_json(kind: type[Any], fields: Any, absent: Sequence[str] = ()) -> Any:
    """A dataclass of plain values, paths and further dataclasses; every field must be there."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.name not in absent]
    if not isinstance(fields, dict) or fields.keys() != set(names):
        got = ", ".join(fields) if isinstance(fields, dict) else repr(fields)
        raise ValueError(f"expected {', '.join(names)}; got {got or 'nothing'}")
    return kind(**{name: _value(hints[name], fields[name]) for name in names})


def _value(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return _from_json(typing.cast(type[Any], hint), value)
    alternatives = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return Path(value) if Path in alternatives and value is not None else value


def folder_of(study: Study[Config], config: Config) -> training.RunFolder:
    """The run's folder: the one asked for, or a new one that no other run has."""
    if config.out is not None:
        folder = training.RunFolder(config.out)
        if folder.holds_a_run() and not config.resume:
            raise InputError(
                f"{folder.path} already holds a run; add --resume to go on with it, or choose another --out"
            )
        return folder
    for number in itertools.count(1):
        path = Path("runs", f"{study.name(config)}-{number}")
        with contextlib.suppress(FileExistsError):  # making it is claiming it: a run started beside this one can't
            path.mkdir(parents=True)
            break
    return training.RunFolder(path)


def _build(study: Study[Config], config: Config, data: Data, folder: training.RunFolder) -> Run:
    family = FAMILIES[study.family]
    cadence = config.cadence(data.train)
    optimizer = training.make_optimizer(config.optimizer, cadence.steps)
    model = family.build(data.model, nnx.Rngs(config.seed))
    data.prepare(model)
    return Run(config, data, folder, model, family.task(data.model), optimizer, cadence)


def _write_settings(study: Study[Any], run: Run) -> None:
    """Write down what the run is, or make sure that a resumed one is the same run on the same data."""
    if not run.config.resume:
        own = config_to_json(run.config) | {"model": dataclasses.asdict(run.data.model)}
        settings = {"family": study.family, **own, "identity": run.data.identity}
        run.data.save_companion(run.folder)
        run.folder.write_config(settings | {"run": identity_of({**settings, "data": None})})
    elif run.folder.read_config().get("identity") != run.data.identity:
        raise InputError(f"the data are not those that the run in {run.folder.path} was trained on")


def _train(run: Run, state: training.TrainState) -> tuple[training.TrainState, bool, ProgressLine]:
    """Train to the end or to Ctrl-C; say which."""
    config = run.config
    graphdef = training.split_model(run.model)[0]
    evaluate = training.make_evaluate(run.task, graphdef)
    with training.Checkpoints(run.folder.checkpoints, config.keep, run.folder.run_to_resume()) as checkpoints:
        if config.resume:
            restored = checkpoints.restore(state)
            state = state if restored is None else restored
        _announce(run, state)
        first = int(state.step)
        with (
            MetricsFile(run.folder.metrics, first) as metrics,
            StopOnSignal() as stop,
            ProgressLine(run.cadence.steps, first, run.data.symbols_per_step) as progress,
        ):
            state = training.fit(
                state,
                run.data.train,
                training.make_train_step(run.task, graphdef, run.optimizer),
                lambda params, other: evaluate(params, other, run.data.validation),
                checkpoints,
                run.cadence,
                [metrics, progress],
                stop.is_set,
                config.score,
                run.optimizer,
            )
    return state, stop.is_set() and int(state.step) < run.cadence.steps, progress


def _announce(run: Run, state: training.TrainState) -> None:
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    print(run.data.description)
    print(f"model: {parameters:,} parameters; jax on {jax.default_backend()}")
    print(f"folder: {run.folder.path}" + (f", going on from step {int(state.step)}" if run.config.resume else ""))


def _finish(study: Study[Any], run: Run, progress: ProgressLine, step: int) -> dict[str, float]:
    """The study's own figures, and a summary of every figure by its plain name.

    A run that had been trained before, and is resumed for what comes after, keeps what was said of its training.
    """
    facts = _facts_of_training(run, progress, step)
    model, companion = load_model(run.folder.path)
    summary = study.finish(run, model, companion) | facts
    replace_text(run.folder.summary, json.dumps(summary, indent=2) + "\n")
    return summary


def _facts_of_training(run: Run, progress: ProgressLine, step: int) -> dict[str, float]:
    """How long training took, written down at once, or as it was written down when it had ended."""
    facts: dict[str, float] = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(training.split_model(run.model)[1])),
        "from_step": progress.start_step,
        "steps": step,
        "minutes": progress.seconds / 60,
        "tokens_per_second": progress.speed(step),
    }
    if progress.start_step == step:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            earlier = json.loads(run.folder.summary.read_text(encoding="utf-8"))
            return {name: earlier[name] for name in facts}
    replace_text(run.folder.summary, json.dumps(facts, indent=2) + "\n")
    return facts


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"num_layers": 2}} as {"model.num-layers": 2}, the way options are spelled."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        option = prefix + name.replace("_", "-")
        flat |= _flat(value, option + ".") if isinstance(value, dict) else {option: value}
    return flat
