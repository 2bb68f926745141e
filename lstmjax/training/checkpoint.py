"""Checkpoints: complete or absent, verified when read.

Parameters are kept apart from the rest of the training state, as a flat table of arrays under our own names
("recurrent.layers.0.weights.w_x"), so a model can be read without the optimiser that made it. A step's folder holds

params, other   the model: trained parameters, and all other variables (absent where there are none)
average         averaged parameters, to load in place of the last ones (absent where none are kept)
training        the rest of the state
facts           JSON: format, step, run, digests of the tables, score, source
"""

import contextlib
import gc
import logging
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import orbax.checkpoint as ocp

from lstmjax import checks
from lstmjax.errors import InputError
from lstmjax.training.run_folder import FORMAT
from lstmjax.training.state import TrainState
from lstmjax.trees import Table, check_fit, digest, from_table, to_table
from lstmjax.types import PyTree

log = logging.getLogger(__name__)

ITEMS = ("params", "other", "average", "training")
EMPTY = digest({})


class DamagedError(InputError):
    """A checkpoint that is there but can't be used."""


class Facts(NamedTuple):
    """What a checkpoint says of itself; step and run are None in format 0."""

    step: int | None
    run: str | None
    digests: dict[str, str]
    score: float | None
    source: Any

    @property
    def weights(self) -> str:
        """The item that a model is loaded with."""
        return "params" if self.digests["average"] == EMPTY else "average"


class Checkpoints:
    """The checkpoints of one run: the last few and the best, by score.

    Args:
      folder: where they are kept.
      keep_last: how many of the newest to keep, at least 1; the best one is kept besides.
      identity: identifies the run, and is kept in every checkpoint; None checks nothing.
      read_only: change nothing on disk.

    Raises:
      TypeError, ValueError: a `keep_last` that is no whole number of at least 1.
      InputError: the folder holds checkpoints of another run, or of a newer version of this library.
    """

    def __init__(
        self, folder: str | Path, keep_last: int = 2, identity: str | None = None, *, read_only: bool = False
    ) -> None:
        self.folder, self.identity, self._read_only = Path(folder).absolute(), identity, read_only
        self._keep_last = checks.positive_int("keep_last", keep_last)
        self._scores: dict[int, float] = {}
        options = ocp.CheckpointManagerOptions(
            cleanup_tmp_directories=not read_only,
            create=not read_only,
            save_root_metadata=False,
            # A script may end right after its last save; what orbax does in the background would be lost with it.
            enable_async_checkpointing=False,
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)
        try:
            self._read_scores()
        except InputError:
            self.close()
            raise

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        self._manager.close()

    def steps(self) -> list[int]:
        """The steps that have a complete checkpoint, in order."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step with the lowest score; the newest if none has one; None if there are no checkpoints."""
        best = self.best()
        return max(self.steps(), default=None) if best is None else best[0]

    def best(self) -> tuple[int, float] | None:
        """The step with the lowest score, and that score; None if none has one."""
        measured = [step for step in self.steps() if step in self._scores]
        return min(((step, self._scores[step]) for step in measured), key=lambda pair: pair[1], default=None)

    def save(
        self,
        state: TrainState,
        score: float | None = None,
        *,
        source_state: str | None = None,
        average: PyTree | None = None,
    ) -> None:
        """Save a state; once this returns, it is on disk.

        Args:
          state: what to save.
          score: what the best is chosen by, lower is better, such as the validation loss; None where not measured.
          source_state: where an outside iterator stands, as JSON.
          average: averaged parameters, which are what a model is then loaded with; None means the state's own.

        Raises:
          OSError: it can't be written.
        """
        if self._read_only:
            raise ValueError(f"{self.folder} was opened with read_only=True; nothing can be saved to it")
        trees = _items(state) | {"average": {} if average is None else average}
        step, tables = int(state.step), {name: to_table(tree) for name, tree in trees.items()}
        facts = {
            "format": FORMAT,
            "step": step,
            "run": self.identity,
            "digests": {name: digest(table) for name, table in tables.items()},
            "score": None if score is None else float(score),
            "source": source_state,
        }
        items = {name: ocp.args.StandardSave(table) for name, table in tables.items() if table}
        args = ocp.args.Composite(**items, facts=ocp.args.JsonSave(facts))
        try:
            _ask_orbax(lambda: self._manager.save(step, args=args, force=True))
        except OrbaxError as error:
            raise OSError(f"a checkpoint can't be written to {self.folder}: {error}") from error
        if score is not None and math.isfinite(score):
            self._scores[step] = float(score)
        # Not orbax's BestN: that reads metrics files as it opens a folder, and one damaged file would close all of it.
        for old in self.steps()[: -self._keep_last]:
            if old != self.best_step():
                self._manager.delete(old)

    def restore(self, template: TrainState) -> TrainState | None:
        """The newest readable state, or None where there is no checkpoint.

        A damaged checkpoint is reported, set aside and passed over for the one before it.

        Raises:
          InputError: checkpoints are there, and none can be read, or the newest that can is from another config.
        """
        steps = self.steps()[::-1]
        for step, trees in self.readable(steps, **_items(template)):
            self._set_aside([newer for newer in steps if newer > step])
            return cast(TrainState, trees["training"]._replace(params=trees["params"], other=trees["other"]))
        if steps:
            raise InputError(f"no checkpoint in {self.folder} can be read; damaged: {', '.join(map(str, steps))}")
        return None

    def restore_params(
        self, params: PyTree, other: PyTree, step: int | Literal["best", "latest"] = "best"
    ) -> tuple[PyTree, PyTree]:
        """A model's parameters and its other variables, without the rest of the state.

        Args:
          params, other: trees of arrays or of `jax.ShapeDtypeStruct`, as `split_model` gives them.
          step: a step that has a checkpoint, "latest", or "best" for the lowest score. Where the one chosen by word
            is damaged, the newest that can be read is taken, and a warning says so.

        Raises:
          TypeError, ValueError: `step` is neither a whole number nor one of the two words.
          DamagedError: the checkpoint of step number `step` can't be read.
          InputError: there is none, none can be read, or it does not fit the templates.
        """
        steps, template = self._candidates(step), {"weights": params, "other": other}
        if step not in ("best", "latest"):
            trees = self._read(steps[0], **template)
            return trees["weights"], trees["other"]
        for _, trees in self.readable(steps, **template):
            return trees["weights"], trees["other"]
        raise InputError(f"no checkpoint in {self.folder} can be read; tried {steps}")

    def readable(self, steps: Sequence[int], **templates: PyTree) -> Iterator[tuple[int, dict[str, PyTree]]]:
        """Those of the steps that can be read, in the order given, with their trees; a warning tells of the others.

        Raises:
          InputError: a checkpoint is sound and does not fit the templates.
        """
        for step in steps:
            try:
                trees = self._read(step, **templates)
            except DamagedError as error:
                log.warning("checkpoint %d is damaged (%s); falling back to another", step, error)
            else:
                yield step, trees

    def source_state(self, step: int) -> Any:
        """What `save` was given as `source_state` at a step.

        Raises:
          DamagedError: it can't be read.
        """
        return self._read_facts(step).source

    def _candidates(self, step: int | Literal["best", "latest"]) -> list[int]:
        """The steps to try, in order."""
        if step not in ("best", "latest"):
            if isinstance(step, str):
                raise ValueError(f"step must be a whole number, 'best' or 'latest', got {step!r}")
            step = checks.index("step", step, 0)
        steps = self.steps()
        if not steps:
            raise InputError(f"{self.folder.parent} has no checkpoint yet")
        if isinstance(step, int):
            if step not in steps:
                raise InputError(f"{self.folder} has no checkpoint at step {step}; it has {steps}")
            return [step]
        first = self.best_step() if step == "best" else steps[-1]
        return sorted(steps, key=lambda other: (other != first, -other))

    def _read(self, step: int, **templates: PyTree) -> dict[str, PyTree]:
        """The trees of a step, known to be what was saved and to have the names and shapes of their templates."""
        facts = self._read_facts(step)
        item = {name: facts.weights if name == "weights" else name for name in templates}
        there = {name: ocp.args.StandardRestore() for name in item.values() if facts.digests[name] != EMPTY}
        found = self._restored(step, **there)
        tables: dict[str, Table] = {name: found[item[name]] if item[name] in there else {} for name in templates}
        for name, table in tables.items():
            if facts.digests[item[name]] != digest(table):
                raise DamagedError(f"the bytes of {item[name]} are not those that were saved")
        if facts.step not in (None, step):
            raise DamagedError(f"it was saved as the checkpoint of step {facts.step}")
        for name, template in templates.items():
            check_fit(f"checkpoint {step} in {self.folder}", tables[name], template)
        return {name: from_table(template, tables[name]) for name, template in templates.items()}

    def _restored(self, step: int, **items: Any) -> Any:
        """What orbax reads of a step, by item."""
        try:
            return _ask_orbax(lambda: self._manager.restore(step, args=ocp.args.Composite(**items)))
        except OrbaxError as error:
            raise DamagedError(str(error)) from error

    def _read_facts(self, step: int) -> Facts:
        try:
            found = self._restored(step, facts=ocp.args.JsonRestore())["facts"]
            form = int(found.get("format", 0))
            facts = _facts(found) if form <= FORMAT else None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DamagedError(_first_sentence(error)) from error
        if facts is None:
            raise InputError(
                f"checkpoint {step} in {self.folder} has format {form}, and this version of lstmjax reads {FORMAT}"
            )
        return facts

    def _read_scores(self) -> None:
        """Learn what every checkpoint scored; a damaged one is reported where it is wanted."""
        for step in self.steps():
            with contextlib.suppress(DamagedError):
                facts = self._read_facts(step)
                if self.identity not in (None, facts.run):
                    raise InputError(f"{self.folder} holds the checkpoints of another run; choose another folder")
                if facts.score is not None and math.isfinite(facts.score):
                    self._scores[step] = facts.score

    def _set_aside(self, damaged: Sequence[int]) -> None:
        """Move damaged checkpoints out of the way, so that their steps can be saved again and nothing is deleted."""
        if self._read_only:
            return
        for step in damaged:
            aside = tempfile.mkdtemp(prefix=f"damaged-{step}-", dir=self.folder.parent)
            (self.folder / str(step)).rename(Path(aside, str(step)))
            self._scores.pop(step, None)
        self._manager.reload()


def _facts(found: dict[str, Any]) -> Facts:
    """What a checkpoint of any format says of itself."""
    if found.get("format", 0) == 0:
        digests = {"params": found["params"], "other": EMPTY, "average": EMPTY, "training": found["training"]}
        found = {"step": None, "run": None, "digests": digests, "score": found["validation_loss"], "source": None}
    digests = {name: str(found["digests"][name]) for name in ITEMS}
    score = None if found["score"] is None else float(found["score"])
    return Facts(found["step"], found["run"], digests, score, found["source"])


def _items(state: TrainState) -> dict[str, PyTree]:
    """What is kept apart in a checkpoint."""
    return {"params": state.params, "other": state.other, "training": state._replace(params=None, other=None)}


class OrbaxError(Exception):
    """What orbax could not do, in one sentence."""


def _ask_orbax(call: Callable[[], Any]) -> Any:
    """What a call of orbax's returns; stderr stays clean where it fails.

    Orbax reads all arrays at once, stops at the first that fails and closes its event loop. Each of the others then
    prints a traceback as it ends or is collected: these are waited for here and dropped. The exception itself would
    keep them from being collected, so only its sentence is raised.

    Raises:
      OrbaxError: the call raised; orbax, tensorstore and json each do so in their own way.
    """
    with _stray_complaints_silenced():
        try:
            return call()
        except Exception as error:
            log.debug("orbax failed", exc_info=True)
            sentence = _first_sentence(error)
        time.sleep(0.2)  # long enough for what is under way to end
        gc.collect()
    raise OrbaxError(sentence)


@contextlib.contextmanager
def _stray_complaints_silenced() -> Iterator[None]:
    hook = sys.unraisablehook

    def ignore_closed_loop(stray: "sys.UnraisableHookArgs") -> None:
        if "Event loop is closed" not in str(stray.exc_value):
            hook(stray)

    def is_retrieved(record: logging.LogRecord) -> bool:
        return "exception was never retrieved" not in record.getMessage()

    asyncio_log = logging.getLogger("asyncio")
    sys.unraisablehook = ignore_closed_loop
    asyncio_log.addFilter(is_retrieved)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        asyncio_log.removeFilter(is_retrieved)


def _first_sentence(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
