"""What layers and cells have besides their weights, written in one way, so that two libraries' can be compared."""

import math
from typing import Any

from flax import nnx

from lstmjax.cells.noise import NoisyWrapper

Settings = dict[str, Any]

_NORMS = (nnx.LayerNorm, nnx.RMSNorm, nnx.GroupNorm, nnx.BatchNorm)
_OF_NORMS = ("num_groups", "epsilon", "momentum")
_OF_CELLS = ("in_features", "hidden_features", "proj_features", "use_bias", "reset_after", "gate_fn", "activation_fn")


def settings_of(layer: object) -> Settings:
    """What the outputs of a layer of Flax, or of one of our cells, depend on besides weights; {} if on nothing."""
    if isinstance(layer, nnx.Conv):
        window = layer.kernel_shape[:-2]
        strides, dilation = (_each(value, len(window)) for value in (layer.strides, layer.kernel_dilation))
        return conv_settings(window, strides, dilation, layer.padding, layer.feature_group_count)
    if isinstance(layer, _NORMS):
        return {name: getattr(layer, name) for name in _OF_NORMS if hasattr(layer, name)}
    if isinstance(layer, NoisyWrapper) and getattr(layer, "evaluation", "off") == "off":
        return settings_of(layer.cell)  # noise comes with a key alone
    if hasattr(layer, "step"):
        return {"cell": type(layer)} | _cell_settings(layer)
    return {}


def conv_settings(
    window: tuple[int, ...], strides: tuple[int, ...], dilation: tuple[int, ...], padding: Any, groups: int
) -> Settings:
    """A convolution's, under Flax's names; padding as zeros before and after, but for what depends on the input."""
    reach = [(size - 1) * step for size, step in zip(window, dilation, strict=True)]
    if isinstance(padding, str):
        same = tuple((size // 2, size - size // 2) for size in reach)
        words = {"VALID": ((0, 0),) * len(window), "CAUSAL": ((reach[0], 0),)}
        words |= {"SAME": same} if set(strides) == {1} else {}
        zeros = words.get(padding.upper(), padding.upper())
    else:
        zeros = tuple(pair if isinstance(pair, tuple) else (pair, pair) for pair in _each(padding, len(window)))
    return {"strides": strides, "kernel_dilation": dilation, "padding": zeros, "feature_group_count": groups}


def differing(ours: Settings, theirs: Settings) -> list[str]:
    """The names of the settings in `theirs` that are not the same in `ours`."""
    return [name for name, value in theirs.items() if not _same(ours.get(name), value)]


def written(value: object) -> str:
    """A setting as one would write it."""
    return str(getattr(value, "__name__", value))


def _cell_settings(cell: Any) -> Settings:
    settings = {name: getattr(cell, name, None) for name in _OF_CELLS}
    if not hasattr(cell, "kernel_size"):
        return settings
    sizes = ("kernel_size", "strides", "dilation")
    windows = {name: _each(getattr(cell, name), len(cell.spatial_shape)) for name in sizes}
    return settings | windows | {"padding": cell.padding}


def _each(value: Any, rank: int) -> tuple[Any, ...]:
    """One for all dimensions, or one for each."""
    return tuple(value) if isinstance(value, list | tuple) else (1 if value is None else value,) * rank


def _same(a: Any, b: Any) -> bool:
    return math.isclose(a, b, rel_tol=1e-6) if isinstance(a, float) and isinstance(b, float) else bool(a == b)
