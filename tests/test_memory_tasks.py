"""Memory tasks: the data by hand, gradients by finite differences, when a run ends, and the command."""

import functools
import itertools
import json
import math
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.memory_tasks import __main__ as command
from experiments.memory_tasks import results, runs
from experiments.memory_tasks.gradients import gradient_norms
from lstmjax import cells, initializers
from lstmjax.data import memory_tasks as data
from tests import cases

pytestmark = pytest.mark.usefixtures("lenient_promotion")

PNG = b"\x89PNG\r\n"


def generator(seed=0):
    return np.random.default_rng(seed)


call = functools.partial(cases.call, command.main)


def test_marked_numbers_add_up_to_the_target():
    batch = data.adding(500, 7, generator())
    seen = set()
    for numbers, marks, target in zip(*np.moveaxis(batch.inputs, -1, 0), batch.targets, strict=True):
        places = [step for step in range(7) if marks[step] == 1.0]
        assert np.isclose(target, sum(numbers[step] for step in places))
        assert marks.sum() == 2.0
        seen.add(tuple(places))
    assert seen == set(itertools.combinations(range(7), 2))
    assert 0.0 <= batch.inputs.min() <= batch.inputs.max() == 1.0
    assert batch.inputs.dtype == batch.targets.dtype == np.float32
    assert np.isclose(np.mean((batch.targets - 1.0) ** 2), data.adding_baseline(), rtol=0.1)


def test_copying_asks_for_the_ten_symbols_after_the_signal():
    blanks = 5
    batch = data.copying(200, blanks, generator())
    assert np.array_equal(batch.inputs.sum(axis=-1), np.ones((200, blanks + 20)))
    for row, target in zip(batch.inputs.argmax(axis=-1).tolist(), batch.targets.tolist(), strict=True):
        assert row == [*row[:10], *[8] * (blanks - 1), 9, *[8] * 10]
        assert target == [*[8] * (blanks + 10), *row[:10]]
    assert set(batch.targets[:, -10:].ravel()) == set(range(8))


def test_who_remembers_nothing_has_the_loss_of_the_baseline():
    blanks = 5
    batch = data.copying(3, blanks, generator())
    logits = np.full((3, blanks + 20, 9), -np.inf, np.float32)
    logits[:, : blanks + 10, 8] = 0.0
    logits[:, blanks + 10 :, :8] = 0.0

    def model(xs, **_):
        return xs, None

    means, _ = runs.loss(10, (model, lambda ys: jnp.asarray(logits)), batch, (), None)
    assert np.isclose(float(means["loss"].value), data.copying_baseline(blanks), rtol=1e-6)
    assert np.isclose(float(means["accuracy"].value), np.mean(batch.targets[:, -10:] == 0))  # the first of equals


@pytest.mark.parametrize("items", [1, 4])
def test_every_fact_is_told_once_and_asked_for_once(items):
    batch = data.recalling(50, items, generator())
    for row, target in zip(batch.inputs.argmax(axis=-1), batch.targets, strict=True):
        facts = dict(divmod(fact, 8) for fact in row[:items].tolist())
        asked = (row[items:] - 8 * items).tolist()
        assert sorted(facts) == sorted(asked) == list(range(items))
        assert [facts[key] for key in asked] == target.tolist()
    assert batch.inputs.shape == (50, 2 * items, 9 * items)


def test_the_same_generator_draws_the_same_data_and_sizes_are_checked():
    for draw in (data.adding, data.copying, data.recalling):
        one, other = draw(3, 4, generator(7)), draw(3, 4, generator(7))
        assert np.array_equal(one.inputs, other.inputs)
        assert np.array_equal(one.targets, other.targets)
        with pytest.raises(ValueError, match="count must be at least 1, got 0"):
            draw(0, 4, generator())
        with pytest.raises(ValueError, match="must be at least"):
            draw(1, 0, generator())


@pytest.mark.parametrize("family", [cells.LSTM, cells.GRU])
def test_gradient_norms_are_those_of_finite_differences(family, x64):
    cell, steps, batch, tiny = family(2, 3, param_dtype="float64"), 4, 2, 1e-6
    params = cell.init(jax.random.key(0))
    inputs = jnp.asarray(generator().normal(size=(batch, steps, 2)))
    norms = gradient_norms(cell, params, inputs)
    states = [cell.initial_state((batch,))]
    for step in range(steps):
        states.append(cell.step(params, states[-1], cell.project(params, inputs[:, step]))[0])

    def output(state, step):
        for later in range(step, steps):
            state, _ = cell.step(params, state, cell.project(params, inputs[:, later]))
        return np.asarray(state.h).sum(axis=1) / math.sqrt(3)

    for part, back in itertools.product(norms, range(steps)):
        state = states[steps - back]
        slopes = []
        for unit in range(3):
            nudge = tiny * jnp.eye(3)[unit]
            up, down = (
                state._replace(**{part: getattr(state, part) + sign * jnp.tile(nudge, (batch, 1))}) for sign in (1, -1)
            )
            slopes.append((output(up, steps - back) - output(down, steps - back)) / (2 * tiny))
        lengths = np.linalg.norm(slopes, axis=0)
        expected = 0.0 if (part, back) == ("c", 0) else np.exp(np.log(lengths).mean())
        assert np.isclose(norms[part][back], expected, rtol=1e-6, atol=1e-12), (part, back)
    assert set(norms) == set(states[0]._fields)


def test_chrono_is_in_the_biases_that_are_trained():
    lstm, gru = runs.CELLS["lstm_chrono"](2, 64, 200), runs.CELLS["gru_chrono"](2, 64, 200)
    i, f, g, o = np.split(np.asarray(lstm.init(jax.random.key(0)).b), 4)
    r, z, n = np.split(np.asarray(gru.init(jax.random.key(0)).b), 3)
    assert np.array_equal(i, -f)
    for keep in (f, z):
        assert 0.0 <= keep.min() < math.log(40) < math.log(150) < keep.max() <= math.log(199)
    assert not np.concatenate([g, o, r, n]).any()
    assert lstm.bias_init == initializers.Chrono(200)
    b = np.asarray(runs.CELLS["lstm"](2, 4, 200).init(jax.random.key(0)).b)
    assert b.tolist() == [0] * 4 + [1] * 4 + [0] * 8


def test_when_a_task_is_solved():
    assert runs.is_solved({"loss": 0.0099})
    assert not runs.is_solved({"loss": 0.01})
    assert not runs.is_solved({"loss": float("nan")})
    assert runs.is_solved({"loss": 3.0, "accuracy": 0.991})
    assert not runs.is_solved({"loss": 0.0, "accuracy": 0.99})


@pytest.mark.parametrize(
    ("losses", "steps", "last"),
    [
        ([0.2, 0.009, 0.001], 75, {"step": 50, "loss": 0.009, "solved": True}),
        ([0.2, 0.15, 0.1, 0.0], 75, {"step": 75, "loss": 0.1, "solved": False}),
        ([0.2, math.nan, 0.0], 75, {"step": 50, "loss": None, "solved": False}),
    ],
    ids=["solved", "out-of-steps", "nan"],
)
def test_a_run_ends_when_it_is_solved_or_lost_or_over(losses, steps, last, monkeypatch):
    """A network whose loss over each 25 steps is given; within them it falls, so that their mean counts."""
    drawn = []

    def step(state, batch):
        drawn.append(batch.inputs)
        return state + 1, {"loss": losses[state // 25] * (2 - (state % 25) / 12), "grad_norm": 1.0}

    network = types.SimpleNamespace(step=step, model=lambda seed: None, task=None, optimizer=None, cell=None)
    monkeypatch.setattr(runs, "program_of", lambda run: network)
    monkeypatch.setattr(runs.training, "initial_train_state", lambda *given: 0)
    monkeypatch.setattr(runs, "_gradients_after", lambda *given: {})
    found = list(runs.learn(runs.Run("adding", 5, "lstm", 4, 0, 2, steps, 0.1)))
    assert [record["step"] for record in found] == list(range(25, last["step"] + 1, 25))
    assert found[-1] == last | {"loss": pytest.approx(last["loss"])}
    assert len({batch.tobytes() for batch in drawn}) == len(drawn) == last["step"]  # no batch comes twice


def run_of(task="adding", size=100, cell="lstm", **fields):
    rest = {"hidden": 32, "seed": 0, "batch_size": 32, "steps": 50, "learning_rate": 0.01} | fields
    return runs.Run(task, size, cell, **rest)


def test_summary_and_tables_say_what_was_found():
    found = {
        run_of(): [{"step": 25, "loss": 0.2}, {"step": 50, "loss": 0.009, "solved": True}],
        run_of(seed=1): [{"step": 50, "loss": 0.17, "solved": False}],
        run_of(cell="irnn"): [{"step": 25, "loss": None, "solved": False}],
        run_of(size=200): [{"step": 25, "loss": 0.001, "solved": True}],
        run_of("copy", 3): [{"step": 50, "loss": 0.1, "accuracy": 0.995, "solved": True}],
        run_of("many", 8, hidden=16): [{"step": 50, "loss": 0.1, "accuracy": 0.5, "solved": False}],
    }
    summary = results.summary_of(found)
    assert summary["adding_100_lstm_steps_to_solve"] == 50
    assert summary["adding_100_lstm_seed_1_steps_to_solve"] is None
    assert summary["adding_100_irnn_loss"] is None
    assert summary["copy_3_lstm_accuracy"] == 0.995
    assert summary["many_8_lstm_16_steps_to_solve"] is None
    assert summary["baseline_no_memory_copy_3_loss"] == pytest.approx(10 * math.log(8) / 23)
    assert results.table_of("adding", found).splitlines() == [
        "| adding       | T = 100             | T = 200 |",
        "| ------------ | ------------------- | ------- |",
        "| irnn, H = 32 | NaN at 25           |         |",
        "| lstm, H = 32 | 50, no: 0.170 at 50 | 25      |",
    ]
    assert "no: 50.0% at 50" in results.table_of("many", found)
    assert results.table_of("copy", {}) == results.table_of_gradients({}) == ""


def test_a_look_writes_everything_and_resume_adds_what_is_missing(tmp_path, monkeypatch, capsys):
    out = tmp_path / "runs"
    code, said, err = call(["--quick", "--tasks", "gradients", "adding", "--out", out], monkeypatch, capsys)
    assert code == 0, err
    first = (out / "metrics.jsonl").read_text()
    records = [json.loads(line) for line in first.splitlines()]
    assert {(record["task"], record["T"], record["cell"], record["seed"]) for record in records} == {
        (task, size, cell, 0) for task, size in (("gradients", 50), ("adding", 10)) for cell in ("gru", "lstm")
    }
    steps = [record["step"] for record in records if (record["task"], record["cell"]) == ("adding", "lstm")]
    assert steps == [25, 50, 75, 100][: len(steps)]
    for picture in ("gradients.png", "adding.png"):
        assert (out / picture).read_bytes().startswith(PNG)
    assert (out / "table.md").read_text().strip() in said
    summary = json.loads((out / "summary.json").read_text())
    (lstm,) = (record for record in records if (record["task"], record["cell"]) == ("gradients", "lstm"))
    assert summary["gradients_50_lstm_c_norm_10_back"] == lstm["c"][10] > 0.0

    with (out / "metrics.jsonl").open("a") as file:  # of a run that was killed
        file.write(json.dumps(records[-1] | {"seed": 3, "solved": None})[:-30] + "\n" + '{"task": "add')
    missing = "--tasks adding many --adding.sizes 10 --adding.cells gru --adding.hidden 16 --adding.steps 100"
    missing += " --adding.seeds 1 --many.sizes 1 --many.cells elman --many.hidden 8 --many.steps 25"
    code, said, err = call([*missing.split(), "--resume", "--out", out], monkeypatch, capsys)
    assert code == 0, err
    second = (out / "metrics.jsonl").read_text()
    assert second.startswith(first)
    added = [json.loads(line) for line in second[len(first) :].splitlines()]
    assert [(record["task"], record["K"], record["step"]) for record in added] == [("many", 1, 25)]
    assert (out / "many.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--tasks juggling", "juggling"),
        ("--tasks adding adding", "tasks must name at least one, and each once, got adding adding"),
        ("--adding.sizes 1", "adding.sizes must be at least 2"),
        ("--copy.sizes 0", "sizes must be at least 1, got 0"),
        ("--many.cells transformer", "cells must be one of .* got 'transformer'"),
        ("--gradients.cells indrnn", "cells must be one of"),
        ("--copy.cells lstm_attention", "lstm_attention is for many alone"),
        ("--many.steps 30", "steps must be a multiple of 25, got 30"),
        ("--many.learning-rate 0", "learning_rate must be above 0"),
        ("--batch-size 0", "batch_size must be at least 1"),
        ("--out=", "--out must name where to write"),
    ],
)
def test_what_can_not_be_run_is_refused_in_a_sentence(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(arguments.split(), monkeypatch, capsys)
    assert code == 2
    assert "Traceback" not in err
    assert re.search(message, err), err


def test_what_is_resumed_must_be_there(tmp_path, monkeypatch, capsys):
    code, _, err = call(["--quick", "--resume", "--out", tmp_path / "none"], monkeypatch, capsys)
    assert (code, err) == (2, f"error: {tmp_path / 'none'} holds no runs to add to; leave --resume out")
    assert not (tmp_path / "none").exists()


def test_other_runs_are_not_written_over(tmp_path, monkeypatch, capsys):
    (tmp_path / "metrics.jsonl").write_text('{"step": 5, "loss": 1.0}\n')
    code, _, err = call(["--quick", "--out", tmp_path], monkeypatch, capsys)
    assert (code, "already holds runs" in err) == (2, True)
    code, _, err = call(["--quick", "--resume", "--out", tmp_path], monkeypatch, capsys)
    assert (code, "is not a metrics file of memory tasks" in err) == (2, True)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 5, "loss": 1.0}\n'
