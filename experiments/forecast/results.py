"""How good a trained forecaster is, beside the naive and the simple ones it should beat."""

import dataclasses
from typing import Any

from experiments import baselines, study
from experiments.baselines import Figures
from experiments.forecast import parts, pictures
from experiments.forecast.backtest import Backtest, figures_of, naive_forecasts
from experiments.observers import plot_curves
from lstmjax.models import ForecasterConfig
from lstmjax.models.forecaster_task import SeriesMeaning
from lstmjax.scores import Totals

LINEAR_RATE = 5e-3
"""The learning rate of linear maps, which the rate of a recurrent network would leave half-trained."""


def finish(run: study.Run, model: Any, meaning: SeriesMeaning) -> Figures:
    """Look back with the model, naive forecasts and trained baselines; print and draw how good all are."""
    config, folder = run.config, run.folder
    prepared, season = run.data.parts
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
        found |= train_baselines(run, validation, test)
    figures = {each: _figures(totals, prepared) for each, totals in found.items()}
    units = {"loss": "loss", "mae": "mean absolute error, scaled"}
    plot_curves(folder.metrics, folder.curve, folder.path.name, units)
    pictures.draw(folder.path, test, model, {each: totals["test"] for each, totals in found.items()}, config)
    print_table(figures)
    better = [each for each in figures if figures[each]["test_mae"] < figures[name]["test_mae"]]
    if better:
        print(f"better than {name} by their test MAE: {', '.join(better)}")
    baselines.print_saved(run, "what comes next", "--predict", "FILE")
    return baselines.summary(figures)


def look_back(validation: Backtest, test: Backtest, model: Any, config: Any) -> dict[str, Totals]:
    """The scores of a trained model in both parts."""
    return {each.part: each.score(each.of_model(model, config.paths, config.seed)) for each in (validation, test)}


def train_baselines(run: study.Run, validation: Backtest, test: Backtest) -> dict[str, dict[str, Totals]]:
    """Simple models on the same windows."""
    found: dict[str, dict[str, Totals]] = {}
    rate = dataclasses.replace(run.config.optimizer, learning_rate=LINEAR_RATE)
    linear = run._replace(config=dataclasses.replace(run.config, optimizer=rate))
    for name, model in baseline_configs(run.data.model).items():

        def finish(baseline: study.Run, trained: Any, meaning: Any, name: str = name) -> Figures:
            found[name] = look_back(validation, test, trained, baseline.config)
            return _figures(found[name], validation.prepared)

        baselines.train(linear if name in ("linear", "dlinear") else run, name, model, finish)
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
    rows = {model: [figures.get(name) for name in ("validation_mae", *names)] for model, figures in models.items()}
    heads = [name.replace("coverage_80", "in 80%").replace("coverage_95", "in 95%") for name in names]
    baselines.print_table("", ["valid. mae", *heads], rows)


def _figures(totals: dict[str, Totals], prepared: parts.Prepared) -> Figures:
    figures: Figures = {}
    for part, each in totals.items():
        figures |= figures_of(each, part, prepared.table.targets)
    return figures
