"""How good a trained forecaster is, beside the naive and the simple ones it should beat."""

import dataclasses
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from experiments import cli, study
from experiments.forecast import parts, pictures
from experiments.forecast.backtest import Backtest, Figures, figures_of, naive_forecasts
from experiments.observers import plot_curves
from lstmjax import training
from lstmjax.models import ForecasterConfig
from lstmjax.scores import Totals

LINEAR_RATE = 5e-3
"""The learning rate of linear maps, which the rate of a recurrent network would leave half-trained."""


def finish(kind: study.Study[Any], run: study.Run, model: Any, prepared: parts.Prepared, season: int) -> Figures:
    """Look back with the model, naive forecasts and trained baselines; print and draw how good all are.

    Args:
      kind: the study, for its baselines.
      run: the run.
      model: the best checkpoint.
      prepared: the series.
      season: in steps.
    """
    config, folder = run.config, run.folder
    validation, test = (
        Backtest(prepared, run.data.model, part, season, config.backtest_stride) for part in ("validation", "test")
    )
    name = run.data.model.network
    found = {name: look_back(validation, test, model, config)}
    num_paths = config.paths if "crps" in found[name]["test"].sums else 0  # beside points, naive points
    for naive, said in naive_forecasts(run.data.model.horizon, season).items():
        found[naive] = {
            each.part: each.score(each.of_naive(said, num_paths, config.seed)) for each in (validation, test)
        }
    if config.baselines:
        found |= train_baselines(kind, run, validation, test)
    figures = {each: _figures(totals, prepared) for each, totals in found.items()}
    units = {"loss": "loss", "mae": "mean absolute error, scaled"}
    plot_curves(folder.metrics, folder.curve, folder.path.name, units)
    drawn = pictures.draw(folder.path, test, model, {each: totals["test"] for each, totals in found.items()}, config)
    print_table(figures)
    own, *others = figures
    better = [each for each in others if figures[each]["test_mae"] < figures[own]["test_mae"]]
    if better:
        print(f"better than {own} by their test MAE: {', '.join(better)}")
    files = ["config.json", "series.json", "metrics.jsonl", "summary.json", folder.curve.name, *drawn]
    print(f"saved in {folder.path}: {', '.join(files)}, and the newest and best checkpoints in checkpoints/")
    print(f"what comes next: {cli.command(kind.module, '--checkpoint', folder.path, '--predict', 'FILE')}")
    beside = {f"baseline_{each}_{key}": value for each in others for key, value in figures[each].items()}
    return figures[own] | {key: value for key, value in beside.items() if "_test_" in key}


def look_back(validation: Backtest, test: Backtest, model: Any, config: Any) -> dict[str, Totals]:
    """The scores of a trained model in both parts."""
    return {each.part: each.score(each.of_model(model, config.paths, config.seed)) for each in (validation, test)}


def train_baselines(
    kind: study.Study[Any], run: study.Run, validation: Backtest, test: Backtest
) -> dict[str, dict[str, Totals]]:
    """Simple models on the same windows, by the same code, each in a folder of its own."""
    found: dict[str, dict[str, Totals]] = {}
    for name, model in baseline_configs(run.data.model).items():
        print(f"\nbaseline {name}:")
        folder = training.RunFolder(run.folder.path / "baselines" / name)
        config = dataclasses.replace(run.config, out=folder.path, resume=folder.holds_a_run())
        if name in ("linear", "dlinear"):
            optimizer = dataclasses.replace(config.optimizer, learning_rate=LINEAR_RATE)
            config = dataclasses.replace(config, optimizer=optimizer)

        def finish(_: study.Run, trained: Any, __: Any, name: str = name, config: Any = config) -> Figures:
            found[name] = look_back(validation, test, trained, config)
            return _figures(found[name], validation.prepared)

        baseline = dataclasses.replace(kind, finish=finish)
        study.complete(baseline, config, run.data._replace(model=model), folder)
    return found


def baseline_configs(model: ForecasterConfig) -> dict[str, ForecasterConfig]:
    """What a forecaster should beat: linear maps, a dense network, and simpler cells."""
    plain = dataclasses.replace(
        model, head="direct", segment=None, hidden_dropout=0.0, recurrent_dropout=0.0, output_dropout=0.0
    )
    found = {
        "linear": dataclasses.replace(plain, network="linear"),
        "dlinear": dataclasses.replace(plain, network="dlinear"),
        "mlp": dataclasses.replace(plain, network="mlp", hidden_features=(128,)),
    }
    if model.is_recurrent:
        found |= {
            "elman": dataclasses.replace(model, network="elman"),
            "gru": dataclasses.replace(model, network="gru"),
        }
    return {name: config for name, config in found.items() if name != model.network}


def print_table(models: dict[str, Figures]) -> None:
    """Test figures: a row for the model, first, and for each beside it."""
    shown = ("rmse", "mae", "smape", "mase", "crps", "coverage_80", "coverage_95")
    names = [f"test_{name}" for name in shown if f"test_{name}" in next(iter(models.values()))]
    heads = [name.replace("coverage_80", "in 80%").replace("coverage_95", "in 95%").replace("_", " ") for name in names]
    table = Table("", "valid. mae", *heads, box=SIMPLE_HEAD, padding=0)
    table.columns[0].no_wrap = True
    for model, figures in models.items():
        values = [figures.get(name) for name in ("validation_mae", *names)]
        table.add_row(model, *("" if value is None else f"{value:.4g}" for value in values))
    Console(highlight=False).print(table)


def _figures(totals: dict[str, Totals], prepared: parts.Prepared) -> Figures:
    figures: Figures = {}
    for part, each in totals.items():
        figures |= figures_of(each, part, prepared.table.targets)
    return figures
