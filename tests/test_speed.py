"""The benchmark's own sums, tables and processes; how fast anything is, no test says."""

import dataclasses
import functools
import json
import math
import sys

import numpy as np
import pytest

from experiments import cli
from experiments.parity.measuring import foreign
from experiments.speed import __main__ as program
from experiments.speed import formulas, machine, plot, ratios, report, results, rounds
from experiments.speed.contenders import CONTENDERS, DEFAULT, Contender, contender_named
from experiments.speed.contenders.case import Request, difference
from experiments.speed.problem import draw, draw_lengths
from experiments.speed.processes import ContenderError, Process
from experiments.speed.results import Measurement, Results
from experiments.speed.spec import JOBS, MODES, ROWS, Row, bar, plain, row_from_json, row_named, sweep_rows
from lstmjax.errors import InputError

TINY = plain(5, 2, 3, 4, modes=("forward", "forward+backward", "compile", "memory"))
TAGGER = Row("tagger", 5, 3, 4, 6, layers=2, bidirectional=True)
RAGGED = Row("ragged", 7, 3, 4, 6, ragged=True)
GENERATION = Row("generation", 9, 3, 8, 8, kind="generation", symbols=11, modes=("generate",))
MODES_OF = {TINY: "forward", TAGGER: "forward+backward", RAGGED: "forward+backward", GENERATION: "generate"}
QUICK = rounds.Timing(rounds=2, seconds=1e-4)
MACHINE = {"matrix_flops_per_second": 1e9, "bytes_per_second": 1e9, "cores": 2, "versions": {"jax": "1.2"}}


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
    """Three contenders on the tiny row, of which one computes something else, and two on a sweep."""
    results = Results(machine=MACHINE, settings={"rounds": 3})
    table = [
        measured("lstmjax", [1.0, 2.0, 1.0], difference=1e-6),
        measured("torch", [3.0, 4.0, 2.0], difference=2e-6),
        measured("keras", [0.1, 0.1, 0.1], error="it computes something else"),
        measured("lstmjax", [], mode="compile", compile_seconds=0.5),
        measured("flax", [], mode="compile", compile_seconds=2.0),
        measured("lstmjax", [], mode="memory", program_bytes=3_000_000, peak_bytes=4_000_000),
    ]
    results.add(TINY, table)
    for row in sweep_rows():
        cost = formulas.flops(row, "forward+backward") / 1e11 + 1e-3
        results.add(
            row, [measured(name, [cost * k], row) for name, k in (("lstmjax", 1), ("torch", 1.5), ("keras", 2))]
        )
    return results


def test_rows_have_names_of_their_own_and_survive_json():
    rows = [*ROWS.values(), *JOBS, *sweep_rows()]
    assert len({row.name for row in rows}) == len(rows)
    assert all(set(row.modes) <= set(MODES) for row in rows)
    for row in rows:
        assert row_from_json(json.loads(json.dumps(dataclasses.asdict(row)))) == row


def test_a_row_is_named_or_a_shape():
    assert row_named("tagger") is ROWS["tagger"]
    row = row_named("5x2x3x4")
    assert (row.steps, row.batch, row.in_features, row.hidden) == (5, 2, 3, 4)
    with pytest.raises(InputError, match="TxBxIxH"):
        row_named("5x2x3")
    assert bar("forward", "float32") < bar("forward", "bfloat16")


def test_a_problem_is_the_same_for_everyone():
    one, other = draw(RAGGED), draw(RAGGED)
    assert np.array_equal(one.xs, other.xs)
    assert np.array_equal(one.lengths, draw_lengths(RAGGED))
    assert 1 <= one.lengths.min() <= one.lengths.max() <= RAGGED.steps
    assert not one.loss_weights[~np.broadcast_to(one.valid, one.loss_weights.shape)].any()
    assert [parts.w_x.shape for both in draw(TAGGER).weights for parts in both] == [(4, 24)] * 2 + [(12, 24)] * 2


def test_a_row_that_is_not_run_takes_no_memory():
    xs = draw(ROWS["long"]).xs
    assert xs.shape == (16000, 32, 64)
    assert xs.strides == (0, 0, 0)


def test_operations_and_bytes_by_hand():
    assert formulas.flops(TINY, "forward") == 5 * 2 * 2 * 16 * (3 + 4) == 2240
    assert formulas.flops(TINY, "forward+backward") == 3 * 2240
    assert formulas.lstm_weights(TINY) == 3 * 16 + 4 * 16 + 16 == 128
    assert formulas.bytes_moved(TINY, "forward") == 4 * (128 + 5 * 2 * 3 + 5 * 2 * 4)
    assert formulas.bytes_moved(TINY, "forward+backward", "bfloat16") == 2 * 3 * (128 + 30 + 40)
    below, above = 2 * (4 * 24 + 6 * 24 + 24), 2 * (12 * 24 + 6 * 24 + 24)
    assert formulas.lstm_weights(TAGGER) == below + above
    assert formulas.flops(TAGGER, "forward") == 15 * 2 * 2 * 24 * ((4 + 6) + (12 + 6))


def test_padding_is_no_work():
    steps = int(draw_lengths(RAGGED).sum())
    assert formulas.valid_steps(RAGGED) == steps < 21
    assert formulas.flops(RAGGED, "forward") == steps * 2 * 24 * 10


def test_generation_reads_all_weights_for_each_symbol():
    weights = 8 * 32 + 8 * 32 + 32 + 8 * 11 + 11
    assert formulas.bytes_moved(GENERATION, "generate") == 4 * 9 * (weights + 3 * 8)
    assert formulas.flops(GENERATION, "generate") == 27 * (2 * 32 * 16 + 2 * 8 * 11)
    assert formulas.floor_seconds(GENERATION, "generate", "float32", 1e30, 1.0) == 4 * 9 * (weights + 24)


def test_an_epoch_reads_every_sequence():
    job = dataclasses.replace(JOBS[0], sequences=10)
    assert formulas.flops(job, "epoch") == 3 * 10 * 1000 * 2 * 200 * 51


def test_ratios(found):
    table = found.of(TINY.name, "forward+backward")
    assert ratios.best_peer(table).contender == "torch"  # keras is faster but computes something else
    assert ratios.speedup(table) == 2.0  # the median of 3/1, 4/2, 2/1
    assert ratios.geometric_mean([1.0, 100.0]) == pytest.approx(10.0)
    assert ratios.geometric_mean([]) is None
    fraction = ratios.matrix_fraction(TINY, table["lstmjax"], MACHINE)
    assert fraction == pytest.approx(3 * 2240 / 1.0 / 1e9)


def test_the_summary(found):
    summary = ratios.summary(found)["float32"]
    assert summary["forward+backward"]["geometric_mean"] == 2.0
    assert summary["forward+backward"]["worst_row"] == TINY.name
    assert summary["compile_time"] == {"flax / lstmjax": 4.0}
    assert summary["largest_gradient_difference"]["torch"] == 2e-6
    assert "generation" not in summary


def test_results_come_back_from_their_file(found, tmp_path):
    path = tmp_path / "results.json"
    results.write(found, ratios.summary(found), path)
    assert results.read(path) == found
    other = Results(machine=MACHINE | {"cores": 3}, measurements=[measured("torch", [9.0])])
    results.write(other, {}, tmp_path / "other.json")
    merged = results.merged([path, tmp_path / "other.json"])
    assert merged.machine["cores"] == 3
    assert merged.of(TINY.name, "forward+backward")["torch"].seconds == [9.0]
    assert len(merged.measurements) == len(found.measurements)


def test_the_report_is_made_from_the_file_alone(found, tmp_path, capsys):
    results.write(found, {}, tmp_path / "results.json")
    code, out, _ = call(report.main, [tmp_path / "results.json", "--plot", tmp_path / "plot.png"], capsys)
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("| T 5, B 2, I 3, H 4 | **1000**"))
    assert [cell.strip() for cell in line.split("|")[3:6]] == ["3000", "", "2.00"]
    assert "Geometric mean over rows of full length: 2.00; worst: 2.00, 5x2x3x4." in out
    assert "3 planned, 4 grown" in out
    assert "keras does not count on 5x2x3x4 forward+backward float32: it computes something else" in out
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_a_plot_needs_sweeps(tmp_path):
    with pytest.raises(InputError, match="--sweeps"):
        plot.draw(Results(), tmp_path / "plot.png")


def test_turns_rotate():
    assert [rounds.rotated("abc", number) for number in range(4)] == [
        list("abc"),
        list("bca"),
        list("cab"),
        list("abc"),
    ]
    assert rounds.rotated([], 1) == []


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
        (["--rows"], "there is nothing to measure"),
        (["--rows", "5x2x3x4", "--contenders", "haiku", "--dtypes", "bfloat16"], "there is nothing to measure"),
    ],
)
def test_a_mistake_gets_a_sentence(arguments, sentence, capsys):
    code, _, err = call(program.main, arguments, capsys)
    assert code == 2
    assert sentence in err


def test_a_contender_that_is_not_installed_gets_its_pip_command(monkeypatch, capsys):
    absent = Contender("absent", "Absent", "torch_peer", "no_such_package", "no-such-package")
    monkeypatch.setitem(CONTENDERS, "absent", absent)
    code, _, err = call(program.main, ["--contenders", "absent", "--rows", "5x2x3x4"], capsys)
    assert code == 2
    assert "no-such-package" in err
    assert "pip install" in err


def test_sweeps_and_jobs_have_their_own_contenders(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("torch")
    pytest.importorskip("keras")
    config = program.SpeedConfig(rows=(), sweeps=True, jobs=True)
    names = {task.row.kind: [one.name for one in task.contenders] for task in program.tasks_of(config)}
    assert names == {"layer": ["lstmjax", "torch", "flax-optimized", "keras"], "job": ["lstmjax", "torch", "keras"]}


def test_lstmjax_goes_through_its_own_process(monkeypatch, tmp_path, capsys):
    """Prepared, checked, timed and written by the command itself; the machine's rates take too long for a test."""
    monkeypatch.setattr(program, "_rates", lambda device: MACHINE)
    path = tmp_path / "results.json"
    options = ["--rows", TINY.name, "--contenders", "lstmjax", "--rounds", "2", "--seconds", "1e-4", "--out", path]
    code, out, err = call(program.main, [*options, "--modes", "forward", "forward+backward", "compile"], capsys)
    assert code == 0, err
    last = json.loads(out.splitlines()[-1])
    assert last["out"] == str(path)
    assert last["summary"]["float32"]["largest_gradient_difference"]["lstmjax"] < 1e-5
    table = {one.mode: one for one in results.read(path).measurements}
    assert [len(table[mode].seconds) for mode in ("forward", "forward+backward", "compile")] == [2, 2, 0]
    assert table["forward"].difference < 1e-5
    assert table["compile"].compile_seconds > 0
    assert table["compile"].program_bytes > 0


def test_a_process_answers_a_failure_with_a_sentence_and_goes_on():
    with Process(contender_named("lstmjax")) as process:
        process.wait_until_ready()
        with pytest.raises(ContenderError, match="nothing is prepared"):
            process.ask("time", seconds=0.0)
        process.prepare(TINY, "forward", "float32")
        assert process.ask("time", seconds=0.0)["seconds"] > 0
        peak = process.ask("peak")["peak_bytes"]
        assert peak >= 0 if sys.platform == "linux" else peak is None


@pytest.mark.parametrize("name", [name for name in DEFAULT if name != "lstmjax"])
def test_peers_compute_what_ours_do(name, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    contender = contender_named(name)
    with foreign():
        pytest.importorskip(contender.package)
        for row, mode in MODES_OF.items():
            if contender.can(row, "float32"):
                ours, theirs = answers_of("lstmjax", row, mode), answers_of(name, row, mode)
                assert difference(theirs, ours, mode) <= bar(mode, "float32") / 10, (row.name, mode)


@functools.cache
def answers_of(name, row, mode):
    contender = contender_named(name)
    case = contender.load().prepare(Request(row, mode, option=contender.option))
    return case.answers(case.run())


def test_what_is_not_a_number_does_not_count():
    reference = {"a": np.array([1.0]), "b": np.array([1.0])}
    for name in reference:
        assert math.isnan(difference(reference | {name: np.array([np.nan])}, reference, "forward"))
