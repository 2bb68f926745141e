"""Weights in and out of other libraries, and by name. None of them is imported before it is needed.

- `layouts.py`: how each library lays its weights out: one table
- `reading.py`: other libraries' arrays into our layers
- `writing.py`: our layers into other libraries' arrays
- `torch_modules.py`: PyTorch
- `keras_layers.py`: Keras
- `flax_cells.py`: Flax, nnx and linen
- `equinox_cells.py`: Equinox
- `haiku_cores.py`: Haiku
- `settings.py`: what layers have besides their weights
- `dotted.py`: names of layers and arrays, and tables of them
- `whole_models.py`: many layers' weights into the layers of a model, by a table of names
- `whole_torch_models.py`: such models of PyTorch
- `whole_keras_models.py`: such models of Keras
- `torch_files.py`: what `torch.save` wrote, without torch
- `files.py`: weights by name, and in a safetensors file
"""

from lstmjax.interop.equinox_cells import from_equinox, to_equinox
from lstmjax.interop.files import (
    load_safetensors,
    load_state_dict,
    read_safetensors,
    save_safetensors,
    state_dict,
)
from lstmjax.interop.flax_cells import from_flax, to_flax
from lstmjax.interop.haiku_cores import from_haiku, to_haiku
from lstmjax.interop.keras_layers import from_keras, to_keras
from lstmjax.interop.torch_files import read_torch
from lstmjax.interop.torch_modules import from_torch, to_torch, to_torch_arrays
from lstmjax.interop.whole_keras_models import load_keras
from lstmjax.interop.whole_models import Report
from lstmjax.interop.whole_torch_models import load_torch

__all__ = [
    "Report",
    "from_equinox",
    "from_flax",
    "from_haiku",
    "from_keras",
    "from_torch",
    "load_keras",
    "load_safetensors",
    "load_state_dict",
    "load_torch",
    "read_safetensors",
    "read_torch",
    "save_safetensors",
    "state_dict",
    "to_equinox",
    "to_flax",
    "to_haiku",
    "to_keras",
    "to_torch",
    "to_torch_arrays",
]
