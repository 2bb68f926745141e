"""Which notes come next in polyphonic music: `python -m experiments.music`.

- `__main__.py`: its settings, its data, the command
- `answers.py`: figures, baselines, the table at the end
- `pictures.py`: piano rolls, and what a model expects of one
- `writing.py`: samples as MIDI, and `--sample`
"""
