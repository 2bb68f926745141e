"""How well a model knows which notes come next, beside simple ones that it should beat."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from experiments import baselines, study, trained
from experiments.baselines import Figures
from experiments.music import pictures, writing
from experiments.observers import plot_curves
from experiments.parts import Parts
from lstmjax.data.music import Keyboard
from lstmjax.data.source import Bucketed, SequenceBatch
from lstmjax.models import PianoRollConfig
from lstmjax.models.piano_roll_config import DROPOUTS, before
from lstmjax.sampling import sample

Rolls = list[np.ndarray]


class Said(NamedTuple):
    """What is said of one piece: -log p of each step [T], the notes it takes for likeliest [T, P], and how likely each.

    The probabilities [T, P] are those of each note given what came before and, with nade, the notes below it.
    """

    nll: np.ndarray
    notes: np.ndarray
    probabilities: np.ndarray


def finish(run: study.Run, model: Any, keyboard: Keyboard) -> Figures:
    """Test once, train the baselines, draw the figures, write samples, and say how good all are and where all lies."""
    folder, parts = run.folder, run.data.parts
    said = read_parts(run, model)
    found = {name_of(run.data.model): figures_of(parts, said)}
    found |= {name: figures_of(parts, each) for name, each in count_baselines(parts).items()}
    if run.config.baselines:
        simpler = baseline_configs(run.data.model, run.config.quick)
        found |= {name: baselines.train(run, name, config, measure) for name, config in simpler.items()}
    units = {"loss": "loss, nats a step", "nll": "nats a step, without first steps"}
    plot_curves(folder.metrics, folder.curve, folder.path.name, units)
    longest = max(range(len(said["test"])), key=lambda number: len(said["test"][number].nll))
    piece = parts.test[longest]
    rolls = writing.write_samples(folder.path, model, keyboard, piece, run.config)
    pictures.plot_rolls(folder.path / "roll.png", rolls, keyboard)
    pictures.plot_probabilities(folder.path / "probabilities.png", piece, said["test"][longest].probabilities, keyboard)
    shown = ("validation_nll", "test_nll", "test_nll_per_piece", "test_accuracy")
    baselines.print_models(found, shown, digits=".3f")
    baselines.print_saved(run, "more music", "--sample", "--out", "FILE.mid")
    return baselines.summary(found)


def measure(run: study.Run, model: Any, keyboard: Keyboard) -> Figures:
    """Every figure of a baseline, of the validation and of the test part."""
    return figures_of(run.data.parts, read_parts(run, model))


def batches(rolls: Rolls, config: Any, seed: int | None) -> Bucketed:
    """Pieces with others of nearly their length; the targets are their numbers."""
    return Bucketed(rolls, np.arange(len(rolls)), config.batch_size, 1 if config.quick else config.num_buckets, seed)


def read_parts(run: study.Run, model: nnx.Module) -> dict[str, list[Said]]:
    """What a model says of each piece of the validation and of the test part."""
    parts: Parts[Rolls] = run.data.parts
    say = trained.compiled(model, _read)

    def read(batch: SequenceBatch) -> list[Said]:
        lengths = np.full(len(batch.inputs), batch.inputs.shape[1]) if batch.lengths is None else batch.lengths
        said = jax.device_get(say(batch.inputs, lengths))
        return [Said(*(each[row, :length] for each in said)) for row, length in enumerate(lengths)]

    asked = {"validation": parts.validation, "test": parts.test}
    return {name: trained.in_order(batches(rolls, run.config, None), read) for name, rolls in asked.items()}


def _read(model: Any, rolls: Any, lengths: Any) -> Said:
    scores, _ = model(before(rolls), lengths=lengths)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), scores)
    keys = jax.random.split(jax.random.key(0), rolls.shape[0] * rolls.shape[1])  # which nothing is drawn with
    likeliest = sample(keys, flat, model.notes.draw(temperature=0.0)).reshape(rolls.shape)
    nll = -model.notes.log_likelihood(scores, rolls)
    return Said(nll, likeliest, model.notes.probabilities(scores, rolls))


def figures_of(parts: Parts[Rolls], said: dict[str, list[Said]]) -> Figures:
    """Every figure of the validation and of the test part."""
    return baselines.by_name({name: score(getattr(parts, name), each) for name, each in said.items()})


def score(rolls: Rolls, said: Sequence[Said]) -> Figures:
    """Figures of one part, over all steps but the first of each piece, which nothing goes before.

    `nll`: nats a step, over the steps of all pieces together; `nll_per_piece`: of each piece, then over pieces;
    `nll_with_first`: as the first, with first steps. Of the likeliest notes, hits over all that sound or are said
    to: accuracy TP / (TP + FP + FN) (Bay et al. 2009) and f1 = 2 TP / (2 TP + FP + FN).
    """
    nlls = [np.asarray(each.nll[1:], np.float64) for each in said]
    true, likeliest = (np.concatenate([roll[1:] for roll in each]) for each in (rolls, [each.notes for each in said]))
    hits, misses = float(np.sum(true & likeliest)), float(np.sum(true ^ likeliest))
    return {
        "nll": float(np.concatenate(nlls).mean()),
        "nll_per_piece": float(np.mean([nll.mean() for nll in nlls if len(nll)])),
        "nll_with_first": float(np.concatenate([each.nll for each in said]).mean(dtype=np.float64)),
        "accuracy": hits / max(hits + misses, 1.0),
        "f1": 2 * hits / max(2 * hits + misses, 1.0),
    }


def count_baselines(parts: Parts[Rolls]) -> dict[str, dict[str, list[Said]]]:
    """What counting says: how often each note sounds; and how often it does after sounding, and after silence."""
    rows = np.concatenate(parts.train)
    previous = np.concatenate([_previous(roll) for roll in parts.train])
    often, stays, comes = shares(rows), shares(rows, previous), shares(rows, ~previous)
    kinds: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "note_frequencies": lambda roll: np.broadcast_to(often, roll.shape),
        "last_step": lambda roll: np.where(_previous(roll), stays, comes),
    }
    names = ("validation", "test")
    return {
        kind: {name: [_counted(roll, likely(roll)) for roll in getattr(parts, name)] for name in names}
        for kind, likely in kinds.items()
    }


def shares(rows: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
    """How often each note of rows [N, P] sounds, [P]: at the places of `among` [N, P], and once more either way."""
    among = np.ones_like(rows) if among is None else among
    found: np.ndarray = ((rows & among).sum(axis=0) + 1) / (among.sum(axis=0) + 2)
    return found


def _previous(roll: np.ndarray) -> np.ndarray:
    return np.pad(roll[:-1], ((1, 0), (0, 0)))


def _counted(roll: np.ndarray, likely: np.ndarray) -> Said:
    """What a probability for each note says of a piece."""
    return Said(-np.log(np.where(roll, likely, 1 - likely)).sum(axis=1), likely > 0.5, likely)


def name_of(model: PianoRollConfig) -> str:
    """What a model is called in the table, such as lstm_nade."""
    cell = "linear" if model.cell == "none" else model.cell
    return cell if model.output == "independent" else f"{cell}_nade"


def baseline_configs(model: PianoRollConfig, quick: bool) -> dict[str, PianoRollConfig]:
    """What this kind of model should beat: logistic regression on the last step, the other output, other cells."""
    no_dropout: dict[str, Any] = dict.fromkeys(DROPOUTS, 0.0)
    linear = dataclasses.replace(model, cell="none", output="independent", **no_dropout)
    other = dataclasses.replace(model, output="independent" if model.output == "nade" else "nade")
    others = [dataclasses.replace(model, cell=cell) for cell in ("gru", "elman") if model.cell not in (cell, "none")]
    every = [linear] if quick else [linear, other, *others]
    return {name_of(each): each for each in every if each != model}
