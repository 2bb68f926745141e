"""Forecasts of time series: `python -m experiments.forecast`.

- `__main__.py`: its settings, its data, the command
- `parts.py`: series cut and scaled, in windows
- `backtest.py`: what was said at every origin of a part, held against what came
- `naive.py`: forecasts that need no training
- `results.py`: the model and its baselines, the table at the end
- `pictures.py`: forecasts, errors by step, coverage
- `predictions.py`: what comes after the end of a file
"""
