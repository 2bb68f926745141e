"""Weights in and out of other libraries, and by name. None of them is imported before it is needed."""

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
from lstmjax.interop.torch_modules import from_torch, to_torch, to_torch_arrays

__all__ = [
    "from_equinox",
    "from_flax",
    "from_haiku",
    "from_keras",
    "from_torch",
    "load_safetensors",
    "load_state_dict",
    "read_safetensors",
    "save_safetensors",
    "state_dict",
    "to_equinox",
    "to_flax",
    "to_haiku",
    "to_keras",
    "to_torch",
    "to_torch_arrays",
]
