"""The command that forecasts: what it writes, what comes after a file's end, its look back, a sentence for mistakes."""

import csv
import json

import numpy as np
import pytest

from experiments import study
from experiments.forecast import __main__ as command
from experiments.forecast import parts, pictures
from experiments.forecast.backtest import Backtest, figures_of
from experiments.forecast.predictions import Ahead
from lstmjax import load_model
from lstmjax.data.series import read_series
from lstmjax.decoding.forecasts import Forecast
from lstmjax.models import ForecasterConfig
from tests import cases

pytestmark = pytest.mark.usefixtures("lenient_promotion")

TINY = "--epochs 2 --batch-size 8 --no-baselines --paths 9 --backtest-stride 3 --input-length 4 --horizon 3 "
TINY += "--model.hidden-features 4"
MONTHS = [f"{2000 + number // 12}-{number % 12 + 1:02d}" for number in range(48)]
COUNTS = "--model.output negative-binomial --model.scaling none --model.instance-norm scale"


def call(arguments, monkeypatch, capsys):
    monkeypatch.setattr(command, "SHORTEST_EPOCH", 4)
    return cases.call(command.main, arguments, monkeypatch, capsys)


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(path, header, *columns):
    lines = [header, *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def sold(count=48, seed=0):
    rng = np.random.default_rng(seed)
    return (20 + 5 * np.sin(np.arange(count) * np.pi / 6) + rng.normal(0, 0.5, count)).round(3).tolist()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on 48 months with every baseline; its folder, its file and its summary."""
    folder = tmp_path_factory.mktemp("runs")
    data, out = table(folder / "sales.csv", "month,sold", MONTHS, sold()), folder / "run"
    arguments = [*TINY.replace("--no-baselines ", "").split(), "--data", data, "--time", "month", "--out", out]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "SHORTEST_EPOCH", 4)
        assert cases.run_quietly(command.main, arguments) == 0
    return out, data, json.loads((out / "summary.json").read_text())


def test_a_run_writes_everything_and_names_every_figure(trained):
    out, _, summary = trained
    for name in ("config.json", "series.json", "metrics.jsonl", "loss.png", "forecasts.png", "errors.png"):
        assert (out / name).stat().st_size > 0
    assert (out / "coverage.png").exists()
    assert any((out / "checkpoints").iterdir())
    for score in ("mae", "mse", "rmse", "smape", "mase", "crps", "pinball_50", "coverage_80", "coverage_95"):
        assert np.isfinite([summary[f"test_{score}"], summary[f"validation_{score}"]]).all()
        for name in ("last_value", "seasonal_naive", "drift", "linear", "dlinear", "mlp", "elman", "gru"):
            assert np.isfinite(summary[f"baseline_{name}_test_{score}"])
    assert summary["test_rmse"] ** 2 == pytest.approx(summary["test_mse"])
    assert 0 <= summary["test_coverage_80"] <= summary["test_coverage_95"] <= 1


def test_naive_figures_are_those_worked_out_by_hand(trained):
    """48 months: 33 to train on, 5 to validate on, 10 for the test, whose origins are 38, 41, 44 with a stride of 3."""
    values, summary = np.array(sold()), trained[2]
    errors = {
        "last_value": [values[o : o + 3] - values[o - 1] for o in (38, 41, 44)],
        "seasonal_naive": [values[o : o + 3] - values[o - 12 : o - 9] for o in (38, 41, 44)],
    }
    scale = np.abs(values[12:33] - values[:21]).mean()
    for name, each in errors.items():
        assert summary[f"baseline_{name}_test_mae"] == pytest.approx(np.abs(each).mean())
        assert summary[f"baseline_{name}_test_mse"] == pytest.approx(np.square(each).mean())
        assert summary[f"baseline_{name}_test_mase"] == pytest.approx(np.abs(each).mean() / scale)


def test_what_comes_after_the_end_of_a_file(trained, tmp_path, monkeypatch, capsys):
    out = tmp_path / "ahead.csv"
    code, printed, err = call(["--checkpoint", trained[0], "--predict", trained[1], "--out", out], monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert printed.startswith("3 steps of 1 series in ")
    rows = rows_of(out)
    assert [row["time"] for row in rows] == ["2004-01-01", "2004-02-01", "2004-03-01"]
    assert {(row["series"], row["target"]) for row in rows} == {("sales", "sold")}
    for row in rows:
        levels = [float(row[f"quantile_{level}"]) for level in ("0.025", "0.1", "0.5", "0.9", "0.975")]
        assert levels == sorted(levels)
        assert 0 < float(row["point"]) < 40  # in the file's units
    paths = rows_of(tmp_path / "ahead-paths.csv")
    assert len(paths) == 3
    assert len(paths[0]) == 3 + 100
    assert float(rows[0]["quantile_0.5"]) == pytest.approx(
        np.median([float(paths[0][f"path_{number}"]) for number in range(1, 101)])
    )
    assert (tmp_path / "ahead.png").stat().st_size > 0
    model = load_model(trained[0]).model
    said = model.forecast(np.array(sold()), 3, num_paths=100)
    np.testing.assert_allclose([float(row["point"]) for row in rows], said.point[:, 0], rtol=1e-6)


def test_the_same_seed_gives_the_same_files(trained, tmp_path, monkeypatch, capsys):
    arguments = ["--checkpoint", trained[0], "--predict", trained[1], "--horizon", "2", "--quantiles", "0.3", "--out"]
    for name, more in (("a", []), ("b", []), ("c", ["--seed", "1"])):
        assert call([*arguments, tmp_path / f"{name}.csv", *more], monkeypatch, capsys)[0] == 0
    a, b, c = ((tmp_path / f"{name}-paths.csv").read_text() for name in "abc")
    assert a == b != c
    rows = rows_of(tmp_path / "a.csv")
    assert list(rows[0]) == ["series", "time", "target", "point", "quantile_0.3"]
    assert len(rows) == 2


def test_nan_at_the_end_of_the_history_is_read_as_the_last_value(trained, tmp_path, monkeypatch, capsys):
    values = ["" if number in (20, 46, 47) else value for number, value in enumerate(sold())]
    data = table(tmp_path / "gaps.csv", "month,sold", MONTHS, values)
    arguments = ["--checkpoint", trained[0], "--predict", data, "--out", tmp_path / "said.csv"]
    assert call(arguments, monkeypatch, capsys)[0] == 0
    rows = rows_of(tmp_path / "said.csv")
    assert rows[0]["time"] == "2004-01-01"
    assert np.isfinite([float(row["point"]) for row in rows]).all()
    values[-4:] = [""] * 4
    table(data, "month,sold", MONTHS, values)
    code, _, err = call([*arguments[:-1], tmp_path / "none.csv"], monkeypatch, capsys)
    assert code == 2
    assert "gaps.csv: gaps has no value in its last 4 rows" in err
    assert not (tmp_path / "none.csv").exists()


def test_stopped_and_resumed_is_uninterrupted(tmp_path, monkeypatch, capsys):
    data = table(tmp_path / "sales.csv", "month,sold", MONTHS, sold())
    whole, part = tmp_path / "whole", tmp_path / "part"
    arguments = [*TINY.split(), "--data", data, "--time", "month"]
    assert call([*arguments, "--out", whole], monkeypatch, capsys)[0] == 0
    save = study.training.Checkpoints.save
    with monkeypatch.context() as patch:

        def fail(self, state, *rest, **named):
            save(self, state, *rest, **named)
            raise KeyboardInterrupt

        patch.setattr(study.training.Checkpoints, "save", fail)
        assert call([*arguments, "--out", part], patch, capsys)[0] == 130
    for more, sentence in (
        (["--horizon", "2"], "is a run with --horizon 3, which can't go on with --horizon 2"),
        (["--model.horizon", "2"], "is a run with --model.horizon 3, which can't go on with --model.horizon 2"),
    ):
        code, _, err = call(["--resume", "--out", part, *more], monkeypatch, capsys)
        assert code == 2
        assert sentence in err
    assert call(["--resume", "--out", part], monkeypatch, capsys)[0] == 0
    assert (part / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    figures = [json.loads((folder / "summary.json").read_text()) for folder in (whole, part)]
    assert figures[0]["test_mae"] == figures[1]["test_mae"]


def test_several_series_targets_and_covariates(tmp_path, monkeypatch, capsys):
    """Days of two shops, with the price known ahead, the weather up to now, and the calendar; and a third shop."""
    days = np.arange("2024-01-01", "2024-02-13", dtype="M8[D]").astype(str)  # the last 3 are to come

    def shops(path, names, drop=0):
        rows = []
        for number, name in enumerate(names):
            for row in range(len(days) - drop):
                seen = row < 40
                weather = round(np.cos(row), 2)
                values = (sold(43, number)[row], 100 * number + row, weather) if seen else ("", "", "")
                rows.append((name, days[row], *values, row % 3))
        return table(path, "shop,day,sold,left,weather,price", *zip(*rows, strict=True))

    data, out, said = shops(tmp_path / "a.csv", ("north", "south")), tmp_path / "run", tmp_path / "said.csv"
    roles = ["--time", "day", "--series", "shop", "--target", "sold", "left"]
    roles += ["--known", "price", "--past", "weather", "--calendar"]
    code, printed, err = call([*TINY.split(), *roles, "--data", data, "--out", out], monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert "2 series of 80 rows, one each 1 day; targets: sold, left" in printed
    summary = json.loads((out / "summary.json").read_text())
    assert {"test_mae_sold", "test_mae_left", "test_scaled_mae"} <= summary.keys()
    assert summary["test_mae"] == summary["test_scaled_mae"]
    model, meaning = load_model(out)
    assert (model.num_past, model.num_known, meaning.series) == (1, 1 + 4, ("north", "south"))
    more = shops(tmp_path / "b.csv", ("south", "east"))
    arguments = ["--checkpoint", out, "--out", said, "--predict"]
    assert call([*arguments, more], monkeypatch, capsys)[0] == 0
    rows = rows_of(said)
    assert [(row["series"], row["time"], row["target"]) for row in rows[:3]] == [
        ("south", "2024-02-10", "sold"),
        ("south", "2024-02-10", "left"),
        ("south", "2024-02-11", "sold"),
    ]
    assert len(rows) == 2 * 3 * 2
    assert call([*arguments, more, "--horizon", "1"], monkeypatch, capsys)[0] == 0
    assert rows_of(said) == [row for row in rows if row["time"] == "2024-02-10"]
    said.unlink()
    code, _, err = call([*arguments, shops(tmp_path / "c.csv", ("north",), drop=1)], monkeypatch, capsys)
    assert code == 2
    assert "c.csv: north has price for 2 steps to come; expected 3" in err
    assert not said.exists()


def test_hours_and_a_recursive_model_that_looks_further(tmp_path, monkeypatch, capsys):
    hours = np.arange("2024-01-01T00", "2024-01-03T12", dtype="M8[h]").astype("M8[s]").astype(str)
    data, out, said = table(tmp_path / "h.csv", "t,x", hours, sold(60)), tmp_path / "run", tmp_path / "said.csv"
    arguments = [*TINY.split(), "--data", data, "--time", "t", "--model.head", "recursive", "--calendar"]
    assert call([*arguments, "--out", out], monkeypatch, capsys)[0] == 0
    arguments = ["--checkpoint", out, "--predict", data, "--out", said, "--horizon", "7", "--paths", "5"]
    assert call(arguments, monkeypatch, capsys)[0] == 0
    rows = rows_of(said)
    assert len(rows) == 7
    assert (rows[0]["time"], rows[-1]["time"]) == ("2024-01-03 12:00:00", "2024-01-03 18:00:00")


def test_rows_without_times_points_alone_and_a_constant(tmp_path, monkeypatch, capsys):
    """A series that never changes is scaled by 1, has no MASE, and its naive forecasts have no error."""
    data, out, said = table(tmp_path / "flat.csv", "x", [5.0] * 40), tmp_path / "run", tmp_path / "said.csv"
    arguments = [*TINY.split(), "--data", data, "--model.output", "mse", "--model.network", "linear", "--out", out]
    assert call([*arguments, "--horizon", "1"], monkeypatch, capsys)[0] == 0
    text = (out / "summary.json").read_text()
    summary = json.loads(text)
    assert "NaN" not in text
    assert "test_mase" not in summary
    assert "test_crps" not in summary
    assert summary["baseline_last_value_test_mae"] == 0.0
    assert call(["--checkpoint", out, "--predict", data, "--out", said], monkeypatch, capsys)[0] == 0
    (row,) = rows_of(said)
    assert (row["time"], list(row)) == ("40", ["series", "time", "target", "point"])
    assert not (tmp_path / "said-paths.csv").exists()


def test_counts_stay_counts(tmp_path, monkeypatch, capsys):
    counts = np.random.default_rng(0).poisson(5, 48).tolist()
    data, out = table(tmp_path / "n.csv", "month,sold", MONTHS, counts), tmp_path / "run"
    arguments = [*TINY.split(), *COUNTS.split(), "--data", data, "--time", "month", "--out", out]
    assert call([*arguments, "--model.network", "mlp"], monkeypatch, capsys)[0] == 0
    arguments = ["--checkpoint", out, "--out", tmp_path / "said.csv", "--paths", "5", "--predict"]
    assert call([*arguments, data], monkeypatch, capsys)[0] == 0
    drawn = [float(row[f"path_{n}"]) for row in rows_of(tmp_path / "said-paths.csv") for n in range(1, 6)]
    assert all(count >= 0 and count == round(count) for count in drawn)
    table(data, "month,sold", MONTHS, [-1, *counts[1:]])
    code, _, err = call([*arguments, data], monkeypatch, capsys)
    assert code == 2
    assert "n, 2000-01-01 00:00:00, column 'sold': expected a count for negative-binomial, got -1" in err


@pytest.fixture
def prepared(tmp_path):
    values = ["" if number in (30, 40) else value for number, value in enumerate(sold())]
    series = read_series(table(tmp_path / "sales.csv", "month,sold", MONTHS, values), time="month")
    model = ForecasterConfig(horizon=3, input_length=4, num_targets=1)
    return Backtest(parts.prepare(series, model, False, None, (0.1, 0.2)), model, "test", 12)


def test_a_perfect_forecaster_has_no_error(prepared):
    def perfect(origins):
        came = np.nan_to_num(origins.future, nan=-99.0)
        return Forecast(came, np.repeat(came[None], 5, axis=0))

    figures = figures_of(prepared.score(perfect), "test", ("sold",))
    for name in ("mae", "mse", "rmse", "smape", "mase", "crps", "pinball_10", "pinball_90"):
        assert figures[f"test_{name}"] == 0.0
    assert figures["test_coverage_80"] == 1.0


def test_every_origin_of_the_test_part_is_looked_at_once(prepared):
    futures = [o.future[o.batch.weights > 0] for o in prepared.origins()]
    values = np.array([np.nan if n in (30, 40) else v for n, v in enumerate(sold())])
    np.testing.assert_array_equal(np.concatenate(futures)[:, :, 0], [values[o : o + 3] for o in range(38, 46)])


def test_naive_intervals_do_not_look_ahead(prepared):
    """Errors around naive forecasts are those of the parts before: what comes in the test changes none."""
    origins = next(prepared.origins())

    def zero(history):
        return np.zeros((len(history), 3, 1))

    said = prepared.of_naive(zero, 9, 0)(origins).paths
    prepared.prepared.table.series[0].targets[38:] += 1000.0
    np.testing.assert_array_equal(prepared.of_naive(zero, 9, 0)(origins).paths, said)


def test_pictures_draw_what_is_odd(tmp_path):
    """Names that look like TeX, more series than panels, one step, no value at the end, points alone."""
    series = read_series(table(tmp_path / "a.csv", "$a,b$", [1, 2, ""], ["", "", 5])).series[0]
    ahead = Ahead(series, np.array([3]), Forecast(np.ones((1, 2)), np.ones((4, 1, 2))))
    pictures.plot_ahead(tmp_path / "many.png", ("$a", "b$"), [ahead] * 20)
    points = ahead._replace(forecast=Forecast(np.ones((1, 2)), np.ones((0, 1, 2))))
    pictures.plot_ahead(tmp_path / "one.png", ("$a", "b$"), [points])
    assert (tmp_path / "many.png").stat().st_size > (tmp_path / "one.png").stat().st_size > 0


MISTAKES = {
    "no data": ([], "--data must name a file, or one of etth1, airline"),
    "no file": (["--data", "nowhere.csv"], "is neither a file nor one of etth1, airline"),
    "target": (["--target", "sould"], "row 1 has no column 'sould'; its columns are 'month', 'sold'"),
    "time": (["--time", "day"], "row 1 has no column 'day'"),
    "series": (["--series", "shop"], "row 1 has no column 'shop'"),
    "unparsable": ({5: "soon,1"}, "row 5, column 'month': expected a time"),
    "duplicate": ({5: "2000-02,1"}, "row 5 has the time of row 3, 2000-02-01"),
    "text": ({5: "2000-04,many"}, "row 5, column 'sold': expected a finite number, got 'many'"),
    "infinite": ({5: "2000-04,inf"}, "row 5, column 'sold': expected a finite number, got 'inf'"),
    "off the grid": ({5: "2000-04-03,1"}, "by whole steps of"),
    "huge": ({5: "2000-04,1e300"}, "can't be scaled: expected numbers of at most 1e+30, got 1e+300"),
    "few": (b"month,sold\n2000-01,1\n2000-02,2\n", "2 steps are too few for a horizon of 3: 3 to validate on"),
    "never": ("month,sold\n" + "".join(f"{m},\n" for m in MONTHS), "series 'bad' has no observed value of sold"),
    "header": (b"month,sold\n", "has a header and no rows; expected at least 1"),
    "empty": (b"", "is empty"),
    "bytes": (b"month,sold\n2000-01,\xff\n", "is not UTF-8 text"),
    "folder": (["--data", "{folder}"], "is not known as a table"),
    "split": (["--split", "40", "2", "6"], "in the validation part there is no window of a horizon of 3 steps"),
    "long split": (["--split", "40", "20", "20"], "has 48 steps, and --split asks for 80"),
    "horizon": (["--horizon", "20"], "48 steps are too few for a horizon of 20"),
    "no horizon": (["--horizon", "0"], "horizon must be at least 1, got 0"),
    "counts": ([*COUNTS.split()], "column 'sold': expected a count for negative-binomial, got 20.063"),
    "negative": (
        "month,sold\n" + "".join(f"{m},{-2 if m == '2000-04' else 3}\n" for m in MONTHS),
        "bad, 2000-04-01 00:00:00, column 'sold': expected a count for negative-binomial, got -2",
        COUNTS,
    ),
    "frequency": (["--frequency", "fortnight"], "a frequency must be one of s, min, h"),
    "decided": (["--model.num-past", "3"], "--model.num-past is for the data, --horizon and --input-length to say: 0"),
    "model horizon": (["--model.horizon", "9"], "--model.horizon is for the data, --horizon and --input-length"),
    "output": (["--model.output", "negative-binomial"], "it needs scaling and transform none, and"),
    "out": (["--out", "/proc/none/run"], "can't be written to"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_a_sentence_and_leaves_nothing(mistake, tmp_path, monkeypatch, capsys):
    wrong, sentence, *more = mistake
    path, out = table(tmp_path / "bad.csv", "month,sold", MONTHS, sold()), tmp_path / "run"
    given = [*TINY.split(), "--time", "month", "--out", out, *" ".join(more).split()]
    if isinstance(wrong, list):
        own = [] if "--data" in wrong or not wrong else ["--data", path]
        given = [*given, *own, *(argument.format(folder=tmp_path) for argument in wrong)]
    else:
        if isinstance(wrong, dict):
            lines = path.read_text().splitlines()
            wrong = "\n".join(wrong.get(number, line) for number, line in enumerate(lines, 1)) + "\n"
        path.write_bytes(wrong if isinstance(wrong, bytes) else wrong.encode())
        given += ["--data", path]
    code, _, err = call(given, monkeypatch, capsys)
    assert code == 2
    assert sentence in err
    assert not out.exists()


@pytest.mark.parametrize("option", [["--calendar"], ["--frequency", "h"], ["--duplicates", "mean"]])
def test_what_needs_times_is_refused_without(option, tmp_path, monkeypatch, capsys):
    data = table(tmp_path / "x.csv", "x", sold())
    code, _, err = call(["--data", data, "--out", tmp_path / "run", *option], monkeypatch, capsys)
    assert code == 2
    assert "say --time COLUMN" in err
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_predicted_is_a_sentence_and_writes_nothing(trained, tmp_path, monkeypatch, capsys):
    out = tmp_path / "said.csv"
    days = np.arange("2024-01-01", "2024-01-20", dtype="M8[D]").astype(str)
    table(tmp_path / "days.csv", "month,sold", days, sold(19))
    table(tmp_path / "other.csv", "month,bought", MONTHS, sold())
    (tmp_path / "config.json").write_text('{"format": 1, "family": "forecasts"}')
    for file, more, sentence in (
        ("days.csv", [], "by whole steps of 1 month"),
        ("other.csv", [], "other.csv, row 1 has no column 'sold'"),
        ("none.csv", [], "none.csv can't be read"),
        (trained[1], ["--checkpoint", tmp_path], "names the family 'forecasts'"),
        (trained[1], ["--checkpoint", tmp_path / "nowhere"], "expected the folder of a training run"),
        (trained[1], ["--horizon", "4"], "--horizon must be at most the model's 3, got 4"),
        (trained[1], ["--horizon", "0"], "horizon must be at least 1, got 0"),
        (trained[1], ["--quantiles", "1.5"], "quantiles must be in (0, 1), got 1.5"),
        (trained[1], ["--step", "777"], "no checkpoint at step 777"),
        (out, [], "out must be another file than the one to predict"),
        (tmp_path / "said-paths.csv", [], "out must be another file than the one to predict"),
        (trained[1], ["--out", tmp_path / "said.png"], "out must name a CSV file, beside which a picture ends in .png"),
    ):
        arguments = ["--checkpoint", trained[0], "--predict", tmp_path / file, "--out", out, *more]
        code, _, err = call(arguments, monkeypatch, capsys)
        assert code == 2
        assert sentence in err
        assert not list(tmp_path.glob("said*"))
