"""Learn to translate, from any text to any other: read pairs, train, decode, and say how good it is.

- `__main__.py`: the command line, and what a run learns from
- `pairs.py`: pairs of texts as arrays
- `answers.py`: how good a trained model is, beside simple baselines
- `nearest.py`: the simplest of these: what the likest known source was translated to
- `scores.py`: BLEU, chrF and exact matches
- `predictions.py`: translating files and standard input with trained models
- `options.py`: how it is told what to translate, and how
- `surprises.py`: lines and symbols unlike those of the training
- `pictures.py`: attention maps, quality by length
- `beside_torch.py`: the command that measures speed beside PyTorch
- `contenders.py`: both libraries, each in a process of its own
- `torch_seq2seq.py`: the same model in PyTorch
"""
