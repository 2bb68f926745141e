"""Recurrent layers of other libraries with weights that are given to them: built, run, and their gradients read.

Each file is one library's own way to do it; `experiments.parity` compares what they compute with what ours do, and
`experiments.speed` their time.

- `common.py`: how weights and states are handed over
- `torch_layers.py`: PyTorch
- `flax_layers.py`: Flax, nnx and linen
- `keras_layers.py`: Keras on JAX
- `haiku_layers.py`: Haiku
- `equinox_layers.py`: Equinox
"""
