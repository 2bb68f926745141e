"""Trained models: read back from their run's folder, ready to use."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lstmjax import checks
from lstmjax.errors import InputError
from lstmjax.models import FAMILIES
from lstmjax.training.checkpoint import Checkpoints
from lstmjax.training.run_folder import RunFolder
from lstmjax.trees import split_model

SINCE_FORMAT_2: dict[str, frozenset[str]] = {
    "language-model": frozenset(
        {
            "cell",
            "embedding_dropout",
            "weight_drop",
            "activation_penalty",
            "temporal_penalty",
            "sampled_symbols",
        }
    )
}
"""Settings of each family's models that folders of format 1 could not have; they have their defaults there."""


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
        _check_complete(name, settings)
        config = family.completed(family.config(**settings["model"]), companion)
        graphdef, params, other = split_model(nnx.eval_shape(lambda: family.build(config, nnx.Rngs(0))))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(f"{run.config} does not describe a model: {error}") from error
    if not run.checkpoints.is_dir():
        raise InputError(f"{run.path} has no checkpoint yet")
    with Checkpoints(run.checkpoints, identity=settings.get("run"), read_only=True) as checkpoints:
        return Trained(nnx.merge(graphdef, *checkpoints.restore_params(params, other, step)), companion)


def load_average(folder: str | Path, newest: int) -> Trained:
    """Read the `average` of the models of a run's newest checkpoints.

    Args:
      folder: what a training run wrote.
      newest: how many checkpoints; a run keeps the last few, and the best besides.

    Raises:
      InputError: there are fewer, one of them is damaged, or what `load_model` can't read.
    """
    checks.positive_int("newest", newest)
    run = RunFolder(Path(folder))
    run.read_config()
    steps: list[int] = []
    if run.checkpoints.is_dir():
        with Checkpoints(run.checkpoints, read_only=True) as checkpoints:
            steps = checkpoints.steps()
    if len(steps) < newest:
        raise InputError(f"{run.path} has too few checkpoints to average {newest} of them, {len(steps)}")
    found = [load_model(run.path, step) for step in steps[-newest:]]
    return Trained(average([model for model, _ in found]), found[-1].companion)


def average(models: Sequence[nnx.Module]) -> Any:
    """A model whose parameters are the mean of several models' parameters, taken in float64 and then rounded.

    All other variables, such as running statistics, are those of the last.

    Args:
      models: at least one, of the same parameters; they stay as they are.

    Raises:
      ValueError: no model, or models whose parameters differ in name, shape or dtype.

    Source: checkpoint averaging, section 6.1 of Vaswani et al. 2017, "Attention Is All You Need".

    >>> one, other = nnx.Linear(1, 1, rngs=nnx.Rngs(0)), nnx.Linear(1, 1, rngs=nnx.Rngs(0))
    >>> one.bias[...], other.bias[...] = jnp.array([1.0]), jnp.array([2.0])
    >>> average([one, other]).bias[...].tolist()
    [1.5]
    """
    if not models:
        raise ValueError("models must be at least one, got none")
    *earlier, (graphdef, newest, other) = map(split_model, models)
    trees = [*(params for _, params, _ in earlier), newest]
    if any(_kinds(tree) != _kinds(newest) for tree in trees):
        raise ValueError("models must have the same parameters, of the same shapes and dtypes")
    return nnx.merge(graphdef, jax.tree.map(_mean, *trees), other)


def _mean(*leaves: Any) -> Any:
    total = np.mean([np.asarray(leaf, np.float64) for leaf in leaves], axis=0)
    return jnp.asarray(total, leaves[0].dtype)


def _kinds(tree: Any) -> Any:
    """The names, shapes and dtypes of a tree's leaves."""
    return [(path, leaf.shape, leaf.dtype) for path, leaf in jax.tree.leaves_with_path(tree)]


def _check_complete(family: str, settings: dict[str, Any]) -> None:
    """No setting of the model takes a default in silence, but in folders from before there was such a setting."""
    missing = {field.name for field in dataclasses.fields(FAMILIES[family].config)} - settings["model"].keys()
    if settings["format"] == 1:
        missing -= SINCE_FORMAT_2.get(family, frozenset())
    if settings["format"] and missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
