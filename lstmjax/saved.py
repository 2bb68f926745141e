"""Trained models: read back from their run's folder, ready to use."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

from flax import nnx

from lstmjax.errors import InputError
from lstmjax.models import FAMILIES
from lstmjax.training.checkpoint import Checkpoints
from lstmjax.training.run_folder import RunFolder
from lstmjax.trees import split_model


class Trained(NamedTuple):
    """A trained model, and what its inputs and outputs mean: a vocabulary, or `Meaning`: vocabulary and labels."""

    model: Any
    companion: Any


def load_model(folder: str | Path, step: int | Literal["best", "latest"] = "best") -> Trained:
    """Read a trained model from a run's folder; no training code or settings are needed.

    Args:
      folder: what a training run wrote, such as `python -m experiments.train`.
      step: a step that has a checkpoint, "latest", or "best" for the lowest validation loss. Where the one chosen by
        word is damaged, the newest that can be read is taken, and a warning says so.

    Returns:
      the model, with its parameters, and what belongs to it: a language model's vocabulary; a sequence-to-one model's
      `Meaning`, its vocabulary and its labels, each None where it has none.

    Raises:
      TypeError, ValueError: `step` is neither a whole number nor one of the two words.
      InputError: the folder is not a run's, is of a family or a format that this version does not know, has no
        checkpoint at that step, or none that can be read.
    """
    run = RunFolder(Path(folder))
    settings = run.read_config()
    name = settings.get("family") if settings["format"] else "language-model"  # format 0 knew this one alone
    if not isinstance(name, str) or name not in FAMILIES:
        raise InputError(f"{run.config} names the family {name!r}; this version of lstmjax has {sorted(FAMILIES)}")
    family = FAMILIES[name]
    companion = family.companion(run.path)
    try:
        _check_complete(family.config, settings)
        config = family.completed(family.config(**settings["model"]), companion)
        graphdef, params, other = split_model(nnx.eval_shape(lambda: family.build(config, nnx.Rngs(0))))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(f"{run.config} does not describe a model: {error}") from error
    if not run.checkpoints.is_dir():
        raise InputError(f"{run.path} has no checkpoint yet")
    with Checkpoints(run.checkpoints, identity=settings.get("run"), read_only=True) as checkpoints:
        return Trained(nnx.merge(graphdef, *checkpoints.restore_params(params, other, step)), companion)


def _check_complete(kind: type[Any], settings: dict[str, Any]) -> None:
    """No setting of the model takes a default in silence, but in folders from before they had a format."""
    missing = {field.name for field in dataclasses.fields(kind)} - settings["model"].keys()
    if settings["format"] and missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
