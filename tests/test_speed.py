"""The benchmark's own sums, tables and processes; how fast anything is, no test says."""

import dataclasses
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
    JOBS,
    MODES,
    ROWS,
    Row,
    bar,
    draw_lengths,
    flops,
    generation_bytes,
    plain,
    ragged,
    row_named,
    sweep_rows,
)
from experiments.speed.turns import LibraryError, Prepared, Process, difference
from lstmjax.errors import InputError

TINY = plain(5, 2, 3, 4, modes=("forward", "forward+backward", "compile", "memory"))
TAGGER = Row("tagger", 5, 3, 4, 6, layers=2, bidirectional=True)
RAGGED = ragged(plain(7, 3, 4, 6))
STACK = Row("stack", 5, 3, 4, 6, layers=3)
GENERATION = Row("generation", 9, 3, 8, 8, kind="generation", symbols=11, modes=("generate",))
JOB = Row("job", 6, 4, 1, 5, kind="job", modes=("epoch",), sequences=10)
MODES_OF = {
    TINY: ("forward",),
    STACK: ("forward",),
    TAGGER: ("forward", "forward+backward"),
    RAGGED: ("forward", "forward+backward"),
    GENERATION: ("generate",),
    JOB: ("epoch",),
}
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
    """Four contenders on the tiny row, of which one computes something else, and three on a sweep."""
    results = Results(machine=MACHINE, settings={"rounds": 3})
    table = [
        measured("lstmjax", [1.0, 2.0, 1.0], difference=1e-6, backend="native (avx2)"),
        measured("lstmjax-fused", [1.1, 2.2, 1.1]),
        measured("torch", [3.0, 4.0, 2.0], difference=2e-6),
        measured("keras", [0.1, 0.1, 0.1], error="it computes something else"),
        measured("lstmjax", [], mode="compile", compile_seconds=0.5),
        measured("flax", [], mode="compile", compile_seconds=2.0),
        measured("lstmjax", [], mode="memory", program_bytes=3_000_000, peak_bytes=4_000_000),
    ]
    results.add(table)
    for row in sweep_rows():
        cost = flops(row, "forward+backward") / 1e11 + 1e-3
        results.add(measured(name, [cost * k], row) for name, k in (("lstmjax", 1), ("torch", 1.5), ("keras", 2)))
    return results


def test_rows_have_names_of_their_own():
    rows = [*ROWS.values(), *JOBS, *sweep_rows()]
    assert len({row.name for row in rows}) == len(rows)
    assert all(set(row.modes) <= set(MODES) for row in rows)


def test_a_row_is_named_or_a_shape():
    assert row_named("tagger") is ROWS["tagger"]
    row = row_named("5x2x3x4")
    assert (row.steps, row.batch, row.in_features, row.hidden) == (5, 2, 3, 4)
    assert row_named("ragged-5x2x3x4") == ragged(row)
    assert all(row_named(row.name) == row for row in (*ROWS.values(), *JOBS, *sweep_rows()))
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


def test_a_row_that_is_not_run_takes_no_memory():
    xs = draw(ROWS["long"]).xs
    assert xs.shape == (16000, 32, 64)
    assert xs.strides == (0, 0, 0)


def test_operations_by_hand():
    assert flops(TINY, "forward") == 5 * 2 * 2 * 16 * (3 + 4) == 2240
    assert flops(TINY, "forward+backward") == 3 * 2240
    assert flops(TAGGER, "forward") == 15 * 2 * 2 * 24 * ((4 + 6) + (12 + 6))


def test_padding_is_no_work():
    steps = int(draw_lengths(RAGGED).sum())
    assert steps < 21
    assert flops(RAGGED, "forward") == steps * 2 * 24 * 10


def test_generation_reads_all_weights_for_each_symbol():
    weights = 8 * 32 + 8 * 32 + 32 + 8 * 11 + 11
    assert generation_bytes(GENERATION) == 4 * 9 * (weights + 3 * 8)
    assert generation_bytes(GENERATION, "bfloat16") == 2 * 9 * (weights + 3 * 8)
    assert flops(GENERATION, "generate") == 27 * (2 * 32 * 16 + 2 * 8 * 11)


def test_an_epoch_reads_every_sequence():
    job = dataclasses.replace(JOBS[0], sequences=10)
    assert flops(job, "epoch") == 3 * 10 * 1000 * 2 * 200 * 51


def test_ratios(found):
    table = found.of(TINY.name, "forward+backward")
    assert summary.ratios(table) == pytest.approx({"lstmjax-fused": 1.1, "torch": 2.0})  # the median of 3/1, 4/2, 2/1
    assert summary.best_peer(table) == "torch"  # keras is faster but computes something else
    assert summary.speedup(table) == 2.0
    assert summary.speedup({name: one for name, one in table.items() if name != "lstmjax"}) is None


def test_the_summary(found):
    said = summary.summary(found)["float32"]
    means = said["forward+backward"]["rows of full length"]
    assert {who: one["geometric_mean"] for who, one in means.items()} == {
        "lstmjax-fused": 1.1,
        "torch": 2.0,
        "best peer": 2.0,
    }
    assert means["best peer"]["worst_row"] == TINY.name
    assert said["compile_time"] == {"flax / lstmjax": 4.0}
    assert said["largest_gradient_difference"]["torch"] == 2e-6
    assert "generation" not in said


def test_each_group_of_rows_has_means_of_its_own(found):
    one, short = plain(5, 1, 3, 4), plain(6, 2, 3, 4)
    assert [row.group for row in (short, RAGGED, one)] == list(GROUPS)
    times = {TINY: 4.0, short: 1.0, RAGGED: 5.0, one: 0.5}
    for row, seconds in times.items():
        found.add([measured("lstmjax", [1.0], row, "forward"), measured("torch", [seconds], row, "forward")])
    found.add([measured("onnxruntime", [0.25], short, "forward")])
    said = summary.summary(found)["float32"]["forward"]
    means = {group: {who: one["geometric_mean"] for who, one in table.items()} for group, table in said.items()}
    assert means == {
        "rows of full length": {"torch": 2.0, "onnxruntime": 0.25, "best peer": 1.0},
        "ragged rows": {"torch": 5.0, "best peer": 5.0},
        "rows of one sequence": {"torch": 0.5, "best peer": 0.5},
    }
    page = report.page(found)
    assert "Rows of full length (2): the others take" in page
    assert "torch nn.LSTM 2.00, ONNX Runtime 0.25 (over 1), the fastest other library of each row 1.00." in page
    assert f"The worst row beside another library is {short.name}: ONNX Runtime takes 0.25 times as long" in page


def test_results_come_back_from_their_file(found, tmp_path):
    path = tmp_path / "results.json"
    results.write(found, path)
    assert results.read(path) == found
    other = Results(machine=MACHINE | {"cores": 3}, measurements=[measured("torch", [9.0])])
    results.write(other, tmp_path / "other.json")
    merged = results.merged([path, tmp_path / "other.json"])
    assert merged.machine["cores"] == 2
    assert merged.of(TINY.name, "forward+backward")["torch"].seconds == [9.0]
    assert len(merged.measurements) == len(found.measurements)


def test_the_report_is_made_from_the_file_alone(found, tmp_path, capsys):
    results.write(found, tmp_path / "results.json")
    code, out, _ = call(report.main, [tmp_path / "results.json", "--plot", tmp_path / "plot.png"], capsys)
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("| T 5, B 2, I 3, H 4 | **1000**"))
    assert [cell.strip() for cell in line.split("|")[3:7]] == ["1100", "3000", "", "2.00"]
    assert "lstmjax-fused 1.10, torch nn.LSTM 2.00, the fastest other library of each row 2.00." in out
    assert "The worst row beside another library is 5x2x3x4: torch nn.LSTM takes 2.00 times as long as lstmjax." in out
    assert "The backend that lstmjax chose: native (avx2) for all layers." in out
    assert "| T 5, B 2, I 3, H 4 | 0.50 | 2.00 | 4.00 |" in out
    assert "3 planned, 4 grown" in out
    assert "keras does not count on 5x2x3x4 forward+backward float32: it computes something else" in out
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_the_report_reads_results_of_before_backends_were_kept(found, tmp_path):
    results.write(found, tmp_path / "results.json")
    fields = json.loads((tmp_path / "results.json").read_text())
    for one in fields["measurements"]:
        del one["backend"]
    (tmp_path / "results.json").write_text(json.dumps(fields))
    assert "The backend" not in report.page(results.read(tmp_path / "results.json"))


def test_a_plot_needs_sweeps(tmp_path):
    with pytest.raises(InputError, match="--sweeps"):
        plot.draw(Results(), tmp_path / "plot.png")


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
        (["--rows"], "there is nothing to measure"),
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


def test_sweeps_and_jobs_have_their_own_contenders(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("torch")
    pytest.importorskip("keras")
    config = program.SpeedConfig(rows=(), sweeps=True, jobs=True)
    names = {task.row.kind: [one.name for one in task.contenders] for task in program.tasks_of(config)}
    ours = ["lstmjax", "lstmjax-fused", "lstmjax-scan"]
    assert names == {"layer": [*ours, "torch", "flax-optimized", "keras"], "job": [*ours, "torch", "keras"]}


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
    cell = lx.cells.LSTM(3, 4)
    served = lx.kernels.explain(cell, cell.init(jax.random.key(0)), jnp.ones((2, 5, 3))).backend
    assert {one.backend.split(" (")[0] for one in table.values()} == {served}
    assert table["compile"].compile_seconds > 0
    assert table["compile"].program_bytes > 0


def prepare_sum(numbers):
    """In a process: something that can be asked."""
    print("what a library prints is no answer")
    return Prepared({"sum": lambda: sum(numbers)}, lambda: {"sum": np.array([sum(numbers)])}, {"note": "adds"})


def prepare_lstmjax(numbers):
    return prepare_sum(numbers)


def prepare_another(numbers):
    return prepare_sum([2 * one for one in numbers])


def test_a_process_answers_a_failure_with_a_sentence_and_goes_on():
    with Process() as process:
        with pytest.raises(LibraryError, match="unsupported operand"):
            process.prepare(prepare_another, [1, None])
        assert process.prepare(prepare_sum, [1, 2]) == {"note": "adds"}
        assert process.ask(turns.check) == {"sum": np.array([3])}
        assert process.ask(turns.time_run, "sum", 0.0) > 0
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


def test_native_is_told_with_its_instructions(monkeypatch):
    library = types.ModuleType("lstmjax.kernels.native.library")
    library.isa = lambda: "avx2"
    monkeypatch.setitem(sys.modules, library.__name__, library)
    monkeypatch.setattr(lx.kernels, "explain", lambda *_, **__: lx.kernels.Explanation("native", {}))
    prepared = contender_named("lstmjax-scan").prepare(Request(STACK, "forward"))
    assert prepared.about["backend"] == "native (avx2)"


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
