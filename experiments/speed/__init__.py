"""How fast our layers are beside other libraries' on the same machine, the same weights and the same inputs.

- `__main__.py`: the command that measures
- `rows.py`: the rows: shapes, modes and dtypes, and what they cost by arithmetic
- `problem.py`: the numbers of a row, from a seed, and an epoch of training on them
- `contenders.py`: who takes part
- `on_jax.py`: ours, Flax, Keras and Haiku, each at its best
- `on_torch.py`: PyTorch
- `on_onnx.py`: ONNX Runtime
- `turns.py`: processes that take turns, and how far apart their answers are
- `measure.py`: all contenders on a row
- `beside.py`: the same for programs of two or three libraries, in other folders too
- `conv_lstm.py`: convolutional LSTMs beside Keras's, a command of its own
- `machine.py`: the machine and its rate
- `results.py`: what was measured, and its file
- `summary.py`: from times to ratios and means
- `report.py`: the report
- `plot.py`: the plot
"""
