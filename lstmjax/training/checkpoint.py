"""Checkpoints: saved in the background, complete or absent, verified when read.

Parameters are kept apart from the rest of the training state, as a flat table of arrays under our own names
("recurrent.layers.0.weights.w_x"), so a model can be read without the optimiser that made it.
"""

import contextlib
import dataclasses
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    LatestN,
    PolicyCheckpointInfo,
    PreservationContext,
)

from lstmjax import checks
from lstmjax.errors import InputError
from lstmjax.training.state import TrainState
from lstmjax.trees import Table, check_fit, digest, from_table, to_table
from lstmjax.types import PyTree

log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run: the last few and the best, by validation loss.

    Args:
      folder: where they are kept.
      keep_last: how many of the newest to keep; the best one is kept besides.
      read_only: change nothing on disk.
    """

    def __init__(self, folder: str | Path, keep_last: int = 2, *, read_only: bool = False) -> None:
        self._losses: dict[int, float] = {}
        options = ocp.CheckpointManagerOptions(
            preservation_policy=AnyPreservationPolicy([LatestN(keep_last), _KeepLowest(self._losses)]),
            cleanup_tmp_directories=not read_only,
            create=not read_only,
            read_only=read_only,
            save_interval_steps=0 if read_only else 1,
        )
        self.folder = Path(folder).absolute()
        self._manager = ocp.CheckpointManager(self.folder, options=options)
        self._losses |= {step: loss for step in self.steps() if (loss := self._read_loss(step)) is not None}

    def steps(self) -> list[int]:
        """The steps that have a complete checkpoint, in order."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step with the lowest validation loss; the newest if none has one; None if there are no checkpoints."""
        steps = self.steps()
        measured = [step for step in steps if step in self._losses]
        return min(measured, key=self._losses.__getitem__) if measured else max(steps, default=None)

    def save(self, state: TrainState, validation_loss: float | None = None) -> None:
        """Save in the background; what was handed over is copied first, so training may go on at once."""
        params, rest = to_table(state.params), to_table(_without_params(state))
        digests = {"params": digest(params), "training": digest(rest)}
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(params),
            training=ocp.args.StandardSave(rest),
            facts=ocp.args.JsonSave({**digests, "validation_loss": validation_loss}),
        )
        if validation_loss is not None:
            self._losses[int(state.step)] = validation_loss
        with self._failures_told():
            self._manager.save(int(state.step), args=items, force=True)

    def restore(self, template: TrainState) -> TrainState | None:
        """The newest readable state, or None where there is no checkpoint.

        A damaged checkpoint is reported, set aside and passed over for the one before it.

        Raises:
          InputError: checkpoints are there, and none can be read, or the newest that can is from another config.
        """
        damaged: list[int] = []
        for step in reversed(self.steps()):
            try:
                found = self._read(step, params=template.params, training=_without_params(template))
            except DamagedError as error:
                log.warning("checkpoint %d is damaged (%s); falling back to the one before it", step, error)
                damaged.append(step)
                continue
            self._set_aside(damaged)
            return _from_tables(template, found["params"], found["training"])
        if damaged:
            raise InputError(f"no checkpoint in {self.folder} can be read; damaged: {', '.join(map(str, damaged))}")
        return None

    def restore_params(self, step: int, template: PyTree) -> PyTree:
        """The parameters of one step, in the tree of `template`.

        Raises:
          DamagedError: this step's checkpoint can't be read.
          InputError: it does not fit `template`.
        """
        return from_table(template, self._read(step, params=template)["params"])

    def close(self) -> None:
        """Wait for what is being saved, and let go of the folder."""
        with self._failures_told():
            self._manager.close()

    def wait(self) -> None:
        """Wait for what is being saved."""
        with self._failures_told():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _failures_told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # orbax and tensorstore have no error of their own for a full disk, say
            raise OSError(f"a checkpoint can't be written to {self.folder}: {_first_sentence(error)}") from error

    def _read(self, step: int, **templates: PyTree) -> dict[str, Table]:
        """The tables of a step, known to be what was saved and to have the names and shapes of their templates."""
        items = {name: ocp.args.StandardRestore() for name in templates}
        try:
            with stray_callbacks_silenced():
                found = self._manager.restore(step, args=ocp.args.Composite(**items, facts=ocp.args.JsonRestore()))
                digests = {name: found["facts"][name] for name in templates}
        except Exception as error:  # orbax, tensorstore and json each fail in their own way on damaged files
            raise DamagedError(_first_sentence(error)) from error
        for name, template in templates.items():
            if digests[name] != digest(found[name]):
                raise DamagedError(f"the bytes of {name} are not those that were saved")
            check_fit(f"checkpoint {step} in {self.folder}", found[name], template)
        return {name: found[name] for name in templates}

    def _read_loss(self, step: int) -> float | None:
        """What validation gave at a step; None where it was not measured or can't be read."""
        try:
            found = self._manager.restore(step, args=ocp.args.Composite(facts=ocp.args.JsonRestore()))
            loss = found["facts"]["validation_loss"]
            return None if loss is None else float(loss)
        except Exception:  # damage; whoever wants the checkpoint itself is told
            return None

    def _set_aside(self, damaged: Sequence[int]) -> None:
        """Move damaged checkpoints out of the way, so that their steps can be saved again and nothing is deleted."""
        for step in damaged:
            aside = tempfile.mkdtemp(prefix=f"damaged-{step}-", dir=self.folder.parent)
            (self.folder / str(step)).rename(Path(aside, str(step)))
            self._losses.pop(step, None)
        self._manager.reload()


class DamagedError(InputError):
    """A checkpoint that is there but can't be used."""


@dataclasses.dataclass
class _KeepLowest:
    """Keep the step with the lowest of `losses`, a table that its owner goes on filling.

    (Orbax's own BestN reads metrics files as it opens a folder, and one damaged file would close the whole folder.)
    """

    losses: dict[int, float]

    def should_preserve(
        self, checkpoints: Sequence[PolicyCheckpointInfo], *, context: PreservationContext
    ) -> Sequence[bool]:
        lowest = min((self.losses[c.step] for c in checkpoints if c.step in self.losses), default=None)
        return [lowest is not None and self.losses.get(c.step) == lowest for c in checkpoints]


def _without_params(state: TrainState) -> TrainState:
    """Everything else, with the RNG key as its raw data."""
    return state._replace(params=None, key=jax.random.key_data(state.key))


def _from_tables(template: TrainState, params: Table, rest: Table) -> TrainState:
    state: TrainState = from_table(_without_params(template), rest)
    key = jax.random.wrap_key_data(state.key, impl=jax.random.key_impl(template.key))
    return state._replace(params=from_table(template.params, params), key=key)


@contextlib.contextmanager
def stray_callbacks_silenced() -> Iterator[None]:
    """Keep stderr clean where reading or writing checkpoints fails.

    Orbax gives up at the first array that fails and closes its event loop; those still under way then complain to
    nobody in particular, with a traceback each.
    """
    hook = sys.unraisablehook

    def ignore_closed_loop(stray: "sys.UnraisableHookArgs") -> None:
        if "Event loop is closed" not in str(stray.exc_value):
            hook(stray)

    sys.unraisablehook = ignore_closed_loop
    try:
        yield
    except Exception:
        time.sleep(0.2)  # long enough for what is under way to end while nobody hears it
        raise
    finally:
        sys.unraisablehook = hook


def _first_sentence(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
