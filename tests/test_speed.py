"""The benchmark's own sums, tables and processes; how fast anything is, no test says."""

import functools
import json
import math
import os
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmjax as lx
from experiments import cli
from experiments.peers.common import foreign
from experiments.speed import __main__ as program
from experiments.speed import beside, machine, measure, plot, report, results, summary, turns
from experiments.speed.contenders import CONTENDERS, DEFAULT, Contender, contender_named
from experiments.speed.problem import Request, draw
from experiments.speed.results import Measurement, Results
from experiments.speed.rows import (
    GROUPS,
    MODES,
    ROWS,
    Row,
    bar,
    draw_lengths,
    flops,
    plain,
    ragged,
    row_named,
)
from experiments.speed.turns import LibraryError, Process, difference
from lstmjax.errors import InputError
from tests.little_libraries import prepare_another, prepare_lstmjax, prepare_sum

OURS_DEFAULT = ["lstmjax", "lstmjax-fused", "lstmjax-scan"]
TINY = plain(5, 2, 3, 4, modes=("forward", "forward+backward", "compile", "memory"))
TAGGER = Row("tagger", 5, 3, 4, 6, layers=2, bidirectional=True)
RAGGED = ragged(plain(7, 3, 4, 6))
STACK = Row("stack", 5, 3, 4, 6, layers=3)
GENERATION = Row("generation", 9, 3, 8, 8, modes=("generate",))
JOB = Row("job", 6, 4, 1, 5, modes=("epoch",), sequences=10)
MODES_OF = {
    TINY: ("forward",),
    STACK: ("forward",),
    TAGGER: ("forward", "forward+backward"),
    RAGGED: ("forward", "forward+backward"),
    GENERATION: ("generate",),
    JOB: ("epoch",),
}
MACHINE = {"matrix_flops_per_second": 1e4, "cores": 2, "versions": {"jax": "1.2"}}


def call(main, arguments, capsys):
    """Exit code, stdout, stderr of a command in this process."""
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda: main(list(map(str, arguments))))
    out, err = capsys.readouterr()
    return stop.value.code, out, " ".join(err.replace("│", " ").split())


def measured(contender, seconds, row=TINY, mode="forward+backward", **fields):
    return Measurement(row.name, mode, "float32", contender, list(seconds), **fields)


@pytest.fixture
def found():
    """Four contenders on the tiny row, of which one computes something else."""
    table = [
        measured("lstmjax", [1.0, 2.0, 1.0], difference=1e-6, backend="native"),
        measured("lstmjax-fused", [1.1, 2.2, 1.1]),
        measured("torch", [3.0, 4.0, 2.0], difference=2e-6),
        measured("keras", [0.1, 0.1, 0.1], error="it computes something else"),
        measured("lstmjax", [0.5], mode="compile"),
        measured("flax", [2.0], mode="compile"),
        measured("lstmjax", [], mode="memory", planned_bytes=3_000_000, peak_bytes=4_000_000),
    ]
    return Results(machine=MACHINE, measurements=table)


def test_rows_have_names_and_modes_of_their_own():
    assert all(row.modes and set(row.modes) <= set(MODES) for row in ROWS.values())
    assert len({row.title for row in ROWS.values()}) == len(ROWS)


def test_a_row_is_named_or_a_shape():
    assert row_named("tagger") is ROWS["tagger"]
    row = row_named("5x2x3x4")
    assert (row.steps, row.batch, row.in_features, row.hidden) == (5, 2, 3, 4)
    assert row_named("ragged-5x2x3x4") == ragged(row)
    with pytest.raises(InputError, match="TxBxIxH"):
        row_named("5x2x3")
    assert bar("forward", "float32") < bar("forward", "bfloat16")


def test_a_problem_is_the_same_for_everyone():
    one, other = draw(RAGGED), draw(RAGGED)
    assert np.array_equal(one.xs, other.xs)
    assert np.array_equal(one.lengths, draw_lengths(RAGGED))
    assert 1 <= one.lengths.min() <= one.lengths.max() <= RAGGED.steps
    assert not one.loss_weights[~np.broadcast_to(one.valid, one.loss_weights.shape)].any()
    assert [parts["w_x"].shape for both in draw(TAGGER).weights for parts in both] == [(4, 24)] * 2 + [(12, 24)] * 2


def test_operations_by_hand():
    assert flops(TINY, "forward") == 5 * 2 * 2 * 16 * (3 + 4) == 2240
    assert flops(TINY, "forward+backward") == 3 * 2240
    assert flops(TAGGER, "forward") == 15 * 2 * 2 * 24 * ((4 + 6) + (12 + 6))


def test_padding_is_no_work():
    steps = int(draw_lengths(RAGGED).sum())
    assert steps < 21
    assert flops(RAGGED, "forward") == steps * 2 * 24 * 10


def test_an_epoch_reads_every_sequence():
    batches = draw(JOB).batches
    assert [xs.shape for xs, _ in batches] == [(6, 4, 1), (6, 4, 1), (6, 2, 1)]
    assert [targets.shape for _, targets in batches] == [(4, 1), (4, 1), (2, 1)]


def test_ratios(found):
    table = found.of(TINY, "forward+backward")
    # The medians of 1.1/1, 2.2/2, 1.1/1 and of 3/1, 4/2, 2/1; Keras is faster but computes something else.
    assert summary.ratios(table) == pytest.approx({"lstmjax-fused": 1.1, "torch": 2.0, "best peer": 2.0})
    assert summary.ratios({name: one for name, one in table.items() if name != "lstmjax"}) == {}


def test_the_summary(found):
    said = summary.summary(found)["float32"]
    means = {who: round(one["mean"], 6) for who, one in said["forward+backward"]["rows of full length"].items()}
    assert means == {"lstmjax-fused": 1.1, "torch": 2.0, "best peer": 2.0}
    assert said["compile"]["rows of full length"]["flax"]["mean"] == pytest.approx(4.0)
    assert said["forward"] == {}
    assert summary.gradient_differences(found, "float32") == {"lstmjax": 1e-6, "torch": 2e-6}


def test_each_group_of_rows_has_means_of_its_own(found):
    one, short = plain(5, 1, 3, 4), plain(6, 2, 3, 4)
    assert [row.group for row in (short, RAGGED, one)] == list(GROUPS)
    times = {TINY: 4.0, short: 1.0, RAGGED: 5.0, one: 0.5}
    for row, seconds in times.items():
        found.add([measured("lstmjax", [1.0], row, "forward"), measured("torch", [seconds], row, "forward")])
    found.add([measured("onnxruntime", [0.25], short, "forward")])
    means = summary.means(found, "forward", "float32")
    assert {group: {who: round(one["mean"], 6) for who, one in table.items()} for group, table in means.items()} == {
        "rows of full length": {"torch": 2.0, "onnxruntime": 0.25, "best peer": 1.0},
        "ragged rows": {"torch": 5.0, "best peer": 5.0},
        "rows of one sequence": {"torch": 0.5, "best peer": 0.5},
    }
    page = report.page(found)
    assert "| rows of full length (2) | 2.00 (1.00 to 4.00) | 0.25 (0.25 to 0.25, of 1) | 1.00 (0.25 to 4.00) |" in page
    assert [row.group for row in found.rows] == sorted([row.group for row in found.rows], key=GROUPS.index)


def test_results_come_back_from_their_file(found, tmp_path):
    path = tmp_path / "results.json"
    results.write(found, path)
    assert results.read([path]) == found
    other = Results(machine=MACHINE | {"cores": 3}, measurements=[measured("torch", [9.0])])
    results.write(other, tmp_path / "other.json")
    both = results.read([path, tmp_path / "other.json"])
    assert both.machine["cores"] == 2
    assert both.of(TINY, "forward+backward")["torch"].seconds == [9.0]
    assert len(both.measurements) == len(found.measurements)


def test_a_file_of_something_else_gets_a_sentence(tmp_path):
    (tmp_path / "other.json").write_text('{"machine": {}, "measurements": [{"row": "5x2x3x4"}]}')
    with pytest.raises(InputError, match="does not hold results"):
        results.read([tmp_path / "other.json"])
    with pytest.raises(InputError, match="can't be read"):
        results.read([tmp_path / "absent.json"])


def test_the_report_is_made_from_the_file_alone(found, tmp_path, capsys):
    results.write(found, tmp_path / "results.json")
    code, out, _ = call(report.main, [tmp_path / "results.json", "--plot", tmp_path / "plot.png"], capsys)
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("| T 5, B 2, I 3, H 4 | **1000**"))
    assert [cell.strip() for cell in line.split("|")[3:-1]] == ["1100", "3000", "2.00", "67%", "native"]
    assert "| rows of full length (1) | 1.10 (1.10 to 1.10) | 2.00 (2.00 to 2.00) | 2.00 (2.00 to 2.00) |" in out
    assert "| T 5, B 2, I 3, H 4 | **0.50** | 2.00 | 4.00 |" in out
    assert "3 planned, 4 grown" in out
    assert "keras does not count on 5x2x3x4 forward+backward float32: it computes something else" in out
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_a_plot_needs_times(tmp_path):
    with pytest.raises(InputError, match="times of forward or forward\\+backward in float32"):
        plot.draw(Results(), tmp_path / "plot.png")


class FailsWhenTimed:
    """In place of a process: it ends at its second turn."""

    asked = 0

    def ask(self, *_):
        self.asked += 1
        if self.asked == 2:
            raise LibraryError("out of memory")
        return 1.0


def test_who_fails_while_it_is_timed_does_not_count_and_the_others_do(monkeypatch):
    monkeypatch.setattr(turns, "PAUSE_SECONDS", 0)
    processes = {"torch": FailsWhenTimed(), "lstmjax": types.SimpleNamespace(ask=lambda *_: 2.0)}
    found = {name: measured(name, []) for name in processes}
    measure.time_in_turn(found, processes, turns.Timing(rounds=3))
    assert (found["torch"].counts, found["torch"].error) == (False, "out of memory")
    assert found["lstmjax"].seconds == [2.0] * 3


def test_turns_rotate(monkeypatch):
    monkeypatch.setattr(turns, "PAUSE_SECONDS", 0)
    assert "".join(turns.turns("abc", 4)) == "abcbcacababc"
    assert not list(turns.turns([], 1))


def test_the_machine_is_described():
    described = machine.describe()
    assert described["cores"] >= 1
    assert "jax" in described["versions"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rows", "5x2x3"], "rows must be shapes"),
        (["--contenders", "tensorflow"], "contenders must be of lstmjax"),
        (["--rounds", "0"], "rounds must be at least 1"),
        (["--rows"], "rows must hold at least one name"),
        (["--rows", "5x2x3x4", "--contenders", "haiku", "--dtypes", "bfloat16"], "there is nothing to measure"),
    ],
)
def test_a_mistake_gets_a_sentence(arguments, sentence, capsys):
    code, _, err = call(program.main, arguments, capsys)
    assert code == 2
    assert sentence in err


def test_a_contender_that_is_not_installed_gets_its_pip_command(monkeypatch, capsys):
    absent = Contender("absent", "Absent", prepare_sum, MODES, needs=("no-such-package",))
    monkeypatch.setitem(CONTENDERS, "absent", absent)
    code, _, err = call(program.main, ["--contenders", "absent", "--rows", "5x2x3x4"], capsys)
    assert code == 2
    assert "no-such-package" in err
    assert "pip install" in err


def test_who_cannot_train_takes_part_forward_only():
    able = contender_named("onnxruntime")
    assert able.can(RAGGED, "forward", "float32")
    assert not able.can(RAGGED, "forward", "bfloat16")
    assert not able.can(RAGGED, "compile", "float32")
    config = program.SpeedConfig(rows=(TINY.name,), modes=("forward+backward",), contenders=("onnxruntime",))
    with pytest.raises(InputError, match="nothing to measure"):
        program.tasks_of(config)


def test_an_epoch_is_for_those_who_train(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("torch")
    pytest.importorskip("keras")
    [task] = program.tasks_of(program.SpeedConfig(rows=("forecasting",)))
    assert [one.name for one in task.contenders] == [*OURS_DEFAULT, "torch", "keras"]


def test_lstmjax_goes_through_its_own_process(monkeypatch, tmp_path, capsys):
    """Prepared, checked, timed and written by the command itself; the machine's rates take too long for a test."""
    monkeypatch.setattr(machine, "rate", its_rate)
    path = tmp_path / "results.json"
    options = ["--rows", TINY.name, "--contenders", "lstmjax", "--rounds", "2", "--seconds", "1e-4", "--out", path]
    code, out, err = call(program.main, [*options, "--modes", "forward", "forward+backward", "compile"], capsys)
    assert code == 0, err
    last = json.loads(out.splitlines()[-1])
    assert last["out"] == str(path)
    table = {one.mode: one for one in results.read([path]).measurements}
    assert [len(table[mode].seconds) for mode in ("forward", "forward+backward", "compile")] == [2, 2, 1]
    assert max(table["forward"].difference, table["forward+backward"].difference) < 1e-5
    cell = lx.cells.LSTM(3, 4)
    served = lx.kernels.explain(cell, cell.init(jax.random.key(0)), jnp.ones((2, 5, 3))).backend
    assert {table[mode].backend for mode in ("forward", "forward+backward")} == {served}
    assert table["compile"].seconds[0] > 0


def its_rate(device):
    return {"matrix_flops_per_second": 1e9}


def test_a_process_answers_a_failure_with_a_sentence_and_goes_on():
    with Process() as process:
        with pytest.raises(LibraryError, match="unsupported operand"):
            process.prepare(prepare_another, [1, None])
        assert process.prepare(prepare_sum, [1, 2]) == {"backend": "adds"}
        assert process.ask(turns.check) == {"sum": np.array([3])}
        times = turns.time_in_turn({"sum": process}, "sum", turns.Timing(rounds=2, seconds=1e-4))
        assert [len(times["sum"]), min(times["sum"]) > 0] == [2, True]
        peak = process.ask(measure.peak_bytes, "sum")
        assert peak >= 0 if sys.platform == "linux" else peak is None
        with pytest.raises(LibraryError, match="ended"):
            process.ask(end)


def end(prepared):
    os._exit(1)


def test_what_is_compared_must_compute_the_same():
    config = beside.BesideConfig(rounds=2, seconds=1e-4, threads=1)
    libraries = {"lstmjax": prepare_sum, "another": prepare_lstmjax}
    found = beside.compare(libraries, [1.0, 2.0], ["sum"], config, 1e-6)
    assert found.differences == {"another": {"sum": 0.0}}
    assert [len(each) for each in found.times["sum"].values()] == [2, 2]
    with pytest.raises(InputError, match="lstmjax and another compute different things"):
        beside.compare(libraries | {"another": prepare_another}, [1.0, 2.0], ["sum"], config, 1e-6)


@pytest.mark.parametrize("name", [name for name in DEFAULT if name != "lstmjax"])
def test_peers_compute_what_ours_do(name, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(machine, "cores", lambda: 1)  # else PyTorch keeps its threads for the tests after this one
    contender = contender_named(name)
    if any(machine.version_of(one) is None for one in contender.needs):
        pytest.skip(f"{name} is not installed")
    with foreign():
        for row, mode in ((row, mode) for row, modes in MODES_OF.items() for mode in modes):
            if contender.can(row, mode, "float32"):
                ours = measure.expected(contender, answers_of("lstmjax", row, mode))
                assert difference(answers_of(name, row, mode), ours) <= bar(mode, "float32") / 10, (row.name, mode)


@functools.cache
def answers_of(name, row, mode):
    return contender_named(name).prepare(Request(row, mode)).check()


@pytest.mark.parametrize(("row", "mode"), [(TINY, "forward+backward"), (GENERATION, "generate")])
def test_bfloat16_is_near(row, mode):
    [ours, in_bfloat16] = [
        contender_named("lstmjax").prepare(Request(row, mode, dtype)).check() for dtype in ("float32", "bfloat16")
    ]
    assert difference(in_bfloat16, ours) <= bar(mode, "bfloat16")


def test_what_is_not_a_number_does_not_count():
    reference = {"a": np.array([1.0]), "b": np.array([1.0])}
    for name in reference:
        assert math.isnan(difference(reference | {name: np.array([np.nan])}, reference))
