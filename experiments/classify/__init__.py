"""One answer from whole sequences: `python -m experiments.classify`.

- `__main__.py`: its settings, its data, the command
- `files.py`: files of every known format, and how tables among them are laid out
- `sequences.py`: parts, arrays and batches
- `answers.py`: figures, baselines, the table at the end
- `predictions.py`: what a trained model says of another file
"""
