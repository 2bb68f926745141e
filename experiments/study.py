"""The one way every study runs: a config and data become a run's folder, with progress, resume, figures and a summary.

A study is its config, where its data comes from, and its figures; all else is here.
"""

import contextlib
import dataclasses
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax
from flax import nnx

from experiments import cli, settings
from experiments.interrupts import StopOnSignal
from experiments.observers import MetricsFile, ProgressLine
from lstmjax import training
from lstmjax.data.source import Source
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import FAMILIES
from lstmjax.saved import load_model
from lstmjax.tasks import Task
from lstmjax.training.run_folder import identity_of


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """A run was asked to stop before its end; everything is saved."""


Config = TypeVar("Config", bound=settings.RunConfig)


class Data(NamedTuple):
    """What a study learns from.

    Args:
      train: batches, without end.
      validation: batches that cover the validation data once.
      test: batches that cover the test data once, for the figures at the end; None where there are none.
      model: the family's config with every size that the data decides.
      save_companion: writes what goes with the model, such as its vocabulary, into the run's folder.
      identity: tells these data from others, whatever file they are in.
      symbols_per_step: for the speed that is shown.
      unit: what these symbols are called.
      description: a line or two for the reader.
      prepare: gives a fresh model what the data bring, such as means and pretrained vectors.
      parts: whatever else of the data the study's `finish` asks for.
    """

    train: Source[Any]
    validation: Source[Any]
    test: Source[Any] | None
    model: Any
    save_companion: Callable[[training.RunFolder], None]
    identity: dict[str, Any]
    symbols_per_step: int
    description: str
    prepare: Callable[[nnx.Module], None] = lambda model: None
    unit: str = "tokens"
    parts: Any = None


class Run(NamedTuple):
    """A run under way: of which study, its settings, data and folder, the model with task and optimiser, its length."""

    study: "Study[Any]"
    config: Any
    data: Data
    folder: training.RunFolder
    model: nnx.Module
    task: Task
    optimizer: training.Optimizer
    cadence: training.Cadence


ENDING = """Checkpoints, metrics, figures and a summary go into one folder. Ctrl-C saves and says how to go on. Exit
codes: 0 done, 1 failed on the way, 2 the command or its input can't be used, 130 stopped."""


class Use(NamedTuple):
    """What trained models of a study do, as a command line of its own that is known by --checkpoint.

    Args:
      config: its settings.
      run: does it.
      option: by which it is known, too.
      description: what --help says first; None stands for the study's.
    """

    config: type[Any]
    run: Callable[[Any], None]
    option: str = "--predict"
    description: str | None = None


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
      use: what its trained models do, where there is a command line for it.
    """

    module: str
    description: str
    family: str
    config: type[Config]
    name: Callable[[Config], str]
    load: Callable[[Config], Data]
    finish: Callable[[Run, Any, Any], dict[str, float]]
    use: Use | None = None

    @property
    def help(self) -> str:
        """What --help says before it lists the options."""
        own_options = "" if self.use is None else "Trained models have options of their own (--checkpoint DIR --help). "
        return f"{self.description}\n{own_options}{ENDING}"

    def main(self) -> int:
        """Do what this program's command line asks for: a run, or something with a trained model; the exit code."""
        arguments, use = sys.argv[1:], self.use
        if use is None or not {"--checkpoint", use.option} & {argument.split("=")[0] for argument in arguments}:
            return run(self, arguments)
        config = cli.parse(use.config, use.description or self.help, arguments)
        cli.check_backend()
        use.run(config)
        return 0


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
    if config.resume and folder.read_config().get("identity") != data.identity:
        raise InputError(settings.other_data(folder.path))
    run = _build(study, config, data, folder)
    key = jax.random.key(config.seed)
    state = training.initial_train_state(run.model, run.task, run.optimizer, config.batch_size, key)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves((state, run.optimizer.average(state.opt_state))))
    folder.create(bytes_needed=size * (config.keep + 2), resume=config.resume)
    with folder.lock():
        if not config.resume:
            _write_settings(run)
        state, stopped, progress = _train(run, state)
        if stopped:
            raise Stopped(f"stopped at step {int(state.step)} of {run.cadence.steps}")
        return _finish(run, progress, int(state.step))


def read_settings(study: Study[Config], arguments: Sequence[str]) -> Config:
    """The config a command line asks for; with --resume that of the folder, and what contradicts it is refused."""
    config = cli.parse(study.config, study.help, arguments)
    if config.out is not None:
        cli.check_folder(config.out)
    if not config.resume:
        return config
    if config.out is None:
        raise InputError("--resume needs --out, the folder of the run to go on with")
    folder = training.RunFolder(config.out)
    fields = folder.read_config()
    folder.run_to_resume()
    if fields.get("family") != study.family:
        raise InputError(f"{folder.config} is of the family {fields.get('family')!r}, not {study.family!r}")
    saved = dataclasses.replace(settings.from_json(study.config, fields, folder), out=config.out, resume=True)
    config = cli.parse(study.config, study.help, arguments, saved)
    settings.check_alike(saved, config, folder)
    return config


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
    return Run(study, config, data, folder, model, family.task(data.model), optimizer, cadence)


def _write_settings(run: Run) -> None:
    """Write down what the run is, and what goes with its model."""
    own = settings.to_json(run.config) | {"model": dataclasses.asdict(run.data.model)}
    fields = {"family": run.study.family, **own, "identity": run.data.identity}
    run.data.save_companion(run.folder)
    run.folder.write_config(fields | {"run": identity_of({**fields, "data": None})})


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
            ProgressLine(run.cadence.steps, first, run.data.symbols_per_step, run.data.unit) as progress,
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


def _finish(run: Run, progress: ProgressLine, step: int) -> dict[str, float]:
    """The study's own figures, and a summary of every figure by its plain name.

    A run that had been trained before, and is resumed for what comes after, keeps what was said of its training.
    """
    facts = _facts_of_training(run, progress, step)
    model, companion = load_model(run.folder.path)
    summary = run.study.finish(run, model, companion) | facts
    replace_text(run.folder.summary, json.dumps(summary, indent=2) + "\n")
    return summary


def _facts_of_training(run: Run, progress: ProgressLine, step: int) -> dict[str, float]:
    """How long training took, written down at once, or as it was written down when it had ended."""
    facts: dict[str, float] = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(training.split_model(run.model)[1])),
        "from_step": progress.start_step,
        "steps": step,
        "minutes": progress.seconds / 60,
        f"{run.data.unit}_per_second": progress.speed(step),
    }
    if progress.start_step == step:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            earlier = json.loads(run.folder.summary.read_text(encoding="utf-8"))
            return {name: earlier[name] for name in facts}
    replace_text(run.folder.summary, json.dumps(facts, indent=2) + "\n")
    return facts
