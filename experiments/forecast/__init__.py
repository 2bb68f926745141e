"""Forecasts of series, with backtests: `python -m experiments.forecast`."""
