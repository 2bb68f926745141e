"""The command lines as a user meets them: what they write, their exit codes, and a sentence for every mistake."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import cli, interrupts, observers, sample, study, train
from experiments.parity import __main__ as parity
from experiments.speed import __main__ as speed
from lstmjax import load_model, training
from lstmjax.errors import InputError
from tests.cases import call

pytestmark = pytest.mark.usefixtures("lenient_promotion")

ROOT = Path(__file__).parents[1]
TEXT = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs.\n" * 12
TINY = "--batch-size 4 --chunk-length 16 --steps 30 --log-every 5 --eval-every 10 --sample-length 20"
TINY += " --model.embed-features 8 --model.hidden-features 16 --model.num-layers 1 --model.output-dropout 0.1"
TINY += " --optimizer.learning-rate 0.02 --optimizer.warmup-steps 3"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "pangrams.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """The folder of a run that went through, in a process of its own, and what it printed."""
    folder = training.RunFolder(tmp_path_factory.mktemp("runs") / "finished")
    done = spawn(data, folder.path)
    out, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    return folder, out


def spawn(data, out, prefix=()):
    command = [*prefix, sys.executable, "-m", "experiments.train", "--data", data, "--out", out, *TINY.split()]
    return subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_records(folder, count):
    """Until the metrics file has this many lines."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if folder.metrics.exists() and folder.metrics.read_text().count("\n") >= count:
            return
        time.sleep(0.002)
    raise TimeoutError


def assert_same_run(folder, other):
    """Metrics to the byte, and the last checkpoint's parameters and training state to the bit."""
    assert folder.metrics.read_text() == other.metrics.read_text()
    digests = [(f.checkpoints / "30" / "facts" / "metadata").read_text() for f in (folder, other)]
    assert digests[0] == digests[1]


def test_a_run_writes_everything_and_learns(finished):
    folder, out = finished
    records = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    losses = {record["step"]: record["loss"] for record in records if "loss" in record}
    assert list(losses) == [5, 10, 15, 20, 25, 30]
    assert losses[30] < 0.9 * losses[5]
    assert [record["step"] for record in records if "validation_loss" in record] == [10, 20, 30]
    assert folder.curve.read_bytes()[:4] == b"\x89PNG"
    assert folder.sample.read_text().strip() in out
    summary = json.loads(folder.summary.read_text())
    assert np.isclose(summary["perplexity"], np.exp(summary["validation_loss"]))
    assert f"-m experiments.sample --checkpoint {folder.path}" in out
    load_model(folder.path)


@pytest.mark.parametrize("records", [3, 5], ids=["at-a-checkpoint", "between-checkpoints"])
def test_a_killed_run_goes_on_as_if_it_had_not_been(data, finished, tmp_path, monkeypatch, capsys, records):
    folder = training.RunFolder(tmp_path / "killed")
    first = spawn(data, folder.path)
    wait_for_records(folder, records)
    first.kill()
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    code, out, err = call(train.main, ["--resume", "--out", folder.path], monkeypatch, capsys)
    assert code == 0, err
    assert re.search("going on from step (0|10|20)\n", out)
    assert_same_run(folder, finished[0])


def test_a_run_killed_before_its_first_checkpoint_starts_over(finished, tmp_path, monkeypatch, capsys):
    folder = training.RunFolder(tmp_path / "early")
    shutil.copytree(finished[0].path, folder.path)
    shutil.rmtree(folder.checkpoints)
    folder.summary.unlink()
    code, out, err = call(train.main, ["--resume", "--out", folder.path], monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert "going on from step 0\n" in out
    assert_same_run(folder, finished[0])


def test_a_finished_run_keeps_its_summary(finished, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished[0].path, tmp_path / "my run")
    before = (tmp_path / "my run/summary.json").read_text()
    code, out, _ = call(train.main, ["--resume", "--out", tmp_path / "my run"], monkeypatch, capsys)
    assert code == 0
    assert (tmp_path / "my run/summary.json").read_text() == before
    assert shlex.split(out.splitlines()[-1])[-1] == str(tmp_path / "my run")


def test_a_moved_text_is_still_the_same_text(data, finished, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished[0].path, tmp_path / "run")
    shutil.copy(data, tmp_path / "moved.txt")
    arguments = ["--resume", "--out", tmp_path / "run", "--data", tmp_path / "moved.txt"]
    assert call(train.main, arguments, monkeypatch, capsys)[0] == 0


def test_runs_started_together_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = train.TrainConfig(data=Path("my text.txt"))
    folders = [study.folder_of(train.STUDY, config).path for _ in range(2)]
    assert folders == [Path("runs/my text-1"), Path("runs/my text-2")]


def test_metrics_files_survive_what_kills_leave(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        b'{"step": 1, "loss": 3.0}\n\0\0\n{"loss": 1}\n{"step": Infinity}\n'
        + b'{"step": 1, "loss": '
        + b"[" * 100_000
        + b"\n"
        + b'{"step": 2, "loss": 2.0}\n{"step": 3, "loss": 1.0}\n{"st'
    )
    with observers.MetricsFile(path, start_step=2) as metrics:
        metrics.on_step(3, {"loss": 1.5})
    assert [record["loss"] for record in observers.read_records(path)] == [3.0, 2.0, 1.5]
    assert [record.getMessage()[:6] for record in caplog.records] == ["line 2", "line 3", "line 4", "line 5"]


def test_time_spent_after_training_does_not_count():
    with observers.ProgressLine(steps=10, start_step=0, symbols_per_step=100) as progress:
        progress.on_step(1, {"loss": 1.0})
        time.sleep(0.01)
    before = progress.seconds, progress.speed(10)
    time.sleep(0.01)
    assert (progress.seconds, progress.speed(10)) == before
    assert 0 < progress.speed(10) < 9 * 100 / 0.01


def test_an_empty_curve_can_be_drawn(tmp_path):
    observers.plot_curves(tmp_path / "nothing.jsonl", tmp_path / "loss.png", "Language model", {"loss": "loss"})
    assert (tmp_path / "loss.png").exists()


def test_running_out_of_memory_is_a_sentence(monkeypatch, capsys):
    def too_large():
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 400000000000000 bytes.")

    code, _, err = call(too_large, [], monkeypatch, capsys)
    assert (code, err) == (1, "error: out of memory; a smaller batch or model may fit")


def test_ctrl_c_saves_and_says_how_to_go_on(data, finished, tmp_path, monkeypatch, capsys):
    folder = training.RunFolder(tmp_path / "stopped")
    first = spawn(data, folder.path)
    wait_for_records(folder, 1)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=300)
    assert (first.returncode, err) == (130, "")
    assert "everything is saved. To go on:" in out
    python, *module, resume, option, path = shlex.split(out.splitlines()[-1])
    assert (ROOT / python).samefile(sys.executable)
    assert module == ["-m", "experiments.train"]
    code, out, err = call(train.main, [resume, option, path], monkeypatch, capsys)
    assert code == 0, err
    assert re.search("going on from step [1-9]", out)
    assert_same_run(folder, finished[0])


def test_sampling_is_fixed_by_its_seed(finished, monkeypatch, capsys):
    options = ["--prompt", "the", "--length", "30", "--temperature", "0.8", "--top-k", "40", "--top-p", "0.95"]
    arguments = ["--checkpoint", finished[0].path, *options]
    code, streamed, _ = call(sample.main, [*arguments, "--seed", 1], monkeypatch, capsys)
    assert code == 0
    assert len(streamed) == len("the") + 30 + len("\n")
    assert call(sample.main, [*arguments, "--seed", 1], monkeypatch, capsys)[1] == streamed
    assert call(sample.main, [*arguments, "--seed", 2], monkeypatch, capsys)[1] != streamed
    _, four, _ = call(sample.main, [*arguments, "--seed", 1, "--num-samples", 4], monkeypatch, capsys)
    assert four.count("--- sample ") == 4
    assert streamed in four


def test_sampling_stops_at_the_stop_text(finished, monkeypatch, capsys):
    arguments = ["--checkpoint", finished[0].path, "--prompt", "the", "--length", 60, "--temperature", 0.5]
    _, free, _ = call(sample.main, arguments, monkeypatch, capsys)
    _, stopped, _ = call(sample.main, [*arguments, "--stop", " "], monkeypatch, capsys)
    assert stopped == free.removesuffix("\n").split(" ", 1)[0] + "\n"


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ("--data nothing.txt", 2, "/nothing.txt can't be read: No such file or directory"),
        ("--data empty.txt", 2, "/empty.txt is empty; expected UTF-8 text"),
        ("--data binary", 2, "/binary is binary, with a zero byte at offset 1; expected UTF-8 text"),
        (
            "--data short.txt",
            2,
            "error: the training text has 54 symbols, and batch_size 4 times",
        ),
        ("--data short.txt --validation-fraction 0.001", 2, "error: the validation text has"),
        ("--data text.txt --out /proc/nowhere", 2, "error: the output folder /proc/nowhere can't be written to"),
        (
            "--data text.txt --out text.txt",
            2,
            "error: the output folder text.txt can't be written to: it is a file",
        ),
        ("--data text.txt --out used", 2, "error: used already holds a run; add --resume to go on with it"),
        ("--data text.txt --out orphan", 2, "error: orphan/checkpoints holds the checkpoints of another run"),
        ("--data text.txt --out=", 2, "error: --out must name where to write, got ''"),
        ("--resume --out old", 2, "error: old was written by an older version"),
        ("--model.hidden-features 1000000000000", 2, "hidden_features must be at most 536870911, got 1000000000000"),
        ("--steps 1000000000000000000000", 2, "steps must be at most 2147483647, got 1000000000000000000000"),
        ("--resume", 2, "error: --resume needs --out, the folder of the run to go on with"),
        ("--resume --out nowhere", 2, "error: nowhere is not a folder; expected the folder of a training run"),
        ("--resume --out plain", 2, "error: plain is not the folder of a training run: it has no config.json"),
        ("--resume --out broken", 2, "error: broken/config.json does not hold the settings of a training run"),
        ("--resume --out used --model.hidden-features 32", 2, "which can't go on with --model.hidden-features 32"),
        ("--steps 0", 2, "steps must be at least 1, got 0"),
        ("--model.output-dropout 1.5", 2, "output_dropout must be in [0, 1), got 1.5"),
        ("--optimizer.learning-rate x", 2, "could not convert string to float: 'x'"),
        ("--hidden 3", 2, "Unrecognized options: --hidden"),
        (
            "--data text.txt --optimizer.learning-rate 1e38 --optimizer.warmup-steps 0",
            1,
            "error: the loss or its gradient is not finite at step",
        ),
    ],
)
def test_training_that_cannot_be(data, finished, tmp_path, monkeypatch, capsys, options, code, sentence):
    monkeypatch.chdir(tmp_path)
    shutil.copy(data, "text.txt")
    shutil.copytree(finished[0].path, "used")
    shutil.copytree(finished[0].path / "checkpoints", "orphan/checkpoints")
    shutil.copytree(ROOT / "tests" / "golden" / "language-model-format-0", "old")
    Path("short.txt").write_text("x" * 60)
    Path("empty.txt").touch()
    Path("binary").write_bytes(b"\x7f\0ELF")
    Path("plain").mkdir()
    Path("broken").mkdir()
    broken = {"format": 1, "family": "language-model", "run": "1", "model": {}}
    Path("broken/config.json").write_text(json.dumps(broken))
    arguments = options.split() if "--model" in options or "--resume" in options else TINY.split() + options.split()
    before = [sorted(Path(folder).rglob("*")) for folder in ("used", "orphan")]
    got_code, _, err = call(train.main, arguments, monkeypatch, capsys)
    assert sentence in err
    assert got_code == code
    assert "Traceback" not in err
    assert [sorted(Path(folder).rglob("*")) for folder in ("used", "orphan")] == before


def test_a_folder_in_use_is_not_resumed(finished, tmp_path, monkeypatch, capsys):
    folder = training.RunFolder(tmp_path / "run")
    shutil.copytree(finished[0].path, folder.path)
    before = folder.metrics.read_text()
    with folder.lock():
        code, _, err = call(train.main, ["--resume", "--out", folder.path], monkeypatch, capsys)
    assert (code, err) == (2, f"error: {folder.path} is in use by another process; wait until it has ended")
    assert folder.metrics.read_text() == before


@pytest.mark.parametrize("error", [RuntimeError("Unable to initialize backend 'tpu'"), AssertionError()])
@pytest.mark.parametrize(("main", "option"), [(train.main, "--sample-length"), (sample.main, "--checkpoint")])
def test_a_platform_that_is_not_there(monkeypatch, capsys, error, main, option):
    def fail():
        raise error

    monkeypatch.setattr(jax, "default_backend", fail)
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    code, _, err = call(main, [option, "9"], monkeypatch, capsys)
    assert code == 2
    assert err.startswith("error: JAX can't run on JAX_PLATFORMS=tpu")


def test_a_closed_stdout_is_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda: 0)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: standard output is closed")


@pytest.mark.parametrize("main", [parity.main, speed.main])
@pytest.mark.parametrize(
    ("out", "sentence"),
    [("/proc/nowhere/page", "folder /proc/nowhere can't be written to"), ("/tmp", "the output file /tmp is a folder")],
)
def test_an_output_that_cannot_be_written_is_found_before_measuring(main, out, sentence):
    with pytest.raises(InputError, match=sentence):
        main(["--out", out])


def test_ctrl_c_while_libraries_load_is_130():
    """The package alone is loaded first, as `python -m` does; it must not load anything heavy."""
    program = "import sys; sys.argv = ['-m']; import experiments, os, signal; assert 'jax' not in sys.modules; "
    program += "os.kill(os.getpid(), signal.SIGINT); signal.pause()"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: stopped\n")


def test_a_second_ctrl_c_ends_the_process_and_raises_nothing(monkeypatch, capfd):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with interrupts.StopOnSignal() as stop:
        signal.raise_signal(signal.SIGINT)
        assert (stop.is_set(), codes) == (True, [])
        signal.raise_signal(signal.SIGINT)
    assert codes == [130]
    assert capfd.readouterr().err == "error: stopped\n"


def test_a_disk_without_room_is_noticed_before_training(data, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    arguments = ["--data", data, "--out", tmp_path / "run", *TINY.split()]
    code, _, err = call(train.main, arguments, monkeypatch, capsys)
    assert code == 2
    assert re.search(r"has 1.0 kB free, and this run's checkpoints need about \d+\.\d kB$", err)


def test_a_disk_that_fills_up_later_is_told_in_a_sentence(data, finished, tmp_path):
    """After a run that went through: what is compiled is there by now, and nothing of it is too large to be written."""
    full = spawn(data, tmp_path / "run", prefix=["sh", "-c", 'ulimit -f 6 && exec "$@"', "sh"])  # 6 * 512 bytes a file
    _, err = full.communicate(timeout=300)
    assert full.returncode == 1
    assert err.startswith("error: a checkpoint can't be written to")
    assert len(err.splitlines()) == 1


def test_a_text_that_changed_is_not_resumed(finished, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished[0].path, tmp_path / "run")
    (tmp_path / "other.txt").write_text(TEXT.upper())
    config = json.loads((tmp_path / "run/config.json").read_text())
    (tmp_path / "run/config.json").write_text(json.dumps(config | {"data": str(tmp_path / "other.txt")}))
    code, _, err = call(train.main, ["--resume", "--out", tmp_path / "run"], monkeypatch, capsys)
    assert code == 2
    assert "the data are not those that the run in" in err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--prompt €uro", "error: --prompt has symbols that the model has never seen: '€'"),
        ("--stop €", "error: --stop has symbols that the model has never seen: '€'"),
        ("--prompt=", "prompt must have at least one symbol, got none"),
        ("--top-p 1.5", "top_p must be in (0, 1], got 1.5"),
        ("--top-k 0", "top_k must be at least 1, got 0"),
        ("--temperature -1", "temperature must be at least 0, got -1.0"),
        ("--length -5", "length must be at least 1, got -5"),
        ("--seed 4294967296", "seed must be at most 4294967295, got 4294967296"),
        ("--num-samples 0", "num_samples must be at least 1, got 0"),
        ("--step -1", "step must be at least 0, got -1"),
        ("--step 7", "has no checkpoint at step 7; it has [20, 30]"),
        ("--checkpoint /nowhere", "error: /nowhere is not a folder; expected the folder of a training run"),
        ("--checkpoint /proc", "error: /proc is not the folder of a training run: it has no config.json"),
    ],
)
def test_samples_that_cannot_be(finished, monkeypatch, capsys, options, sentence):
    arguments = ["--checkpoint", finished[0].path, *options.split()]
    code, out, err = call(sample.main, arguments, monkeypatch, capsys)
    assert sentence in err
    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_a_damaged_checkpoint_is_passed_over_aloud(finished, tmp_path, monkeypatch, capsys):
    folder = training.RunFolder(tmp_path / "run")
    shutil.copytree(finished[0].path, folder.path)
    for path in (folder.checkpoints / "30" / "params").rglob("d/*"):
        path.write_bytes(os.urandom(path.stat().st_size))
    code, _, err = call(train.main, ["--resume", "--out", folder.path], monkeypatch, capsys)
    assert code == 0
    assert err.startswith("checkpoint 30 is damaged (")
    assert err.endswith("falling back to another")
    assert "Traceback" not in err
    assert_same_run(folder, finished[0])


@pytest.mark.parametrize("main", [train.main, sample.main])
def test_help_explains_every_option(main, monkeypatch, capsys):
    code, out, _ = call(main, ["--help"], monkeypatch, capsys)
    assert code == 0
    assert "Exit codes" in out
    assert "(required)" in out or "(default: " in out


@pytest.fixture
def no_cache_yet():
    """As a process starts: no folder for compiled programs."""
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before[0])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])


def test_compiled_programs_are_kept_in_the_users_cache(tmp_path, monkeypatch, no_cache_yet):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cli.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "lstmjax/compiled")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    cli.keep_compiled_programs()  # what is set already stays
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "lstmjax/compiled")


def test_without_a_folder_for_compiled_programs_none_are_kept(tmp_path, monkeypatch, no_cache_yet):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cli.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir is None
