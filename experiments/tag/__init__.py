"""A tag for every token: `python -m experiments.tag`.

- `__main__.py`: its settings, its data, the command
- `sentences.py`: files of every known format, parts, arrays and batches
- `answers.py`: figures, baselines, the table at the end
- `pictures.py`: transitions between tags, curves with and without characters
- `predictions.py`: the tags of another file
- `torch_tagger.py`: the same model in PyTorch
- `beside_torch.py`: how fast both learn and tag
- `contenders.py`: what either does there
- `crf_speed.py`: the CRF beside pytorch-crf, in sequence and in parallel
"""
