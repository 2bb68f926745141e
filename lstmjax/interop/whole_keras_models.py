"""Whole models of Keras 3, Sequential or functional. Keras itself is not needed."""

from collections.abc import Iterable, Iterator
from typing import Any

from flax import nnx

from lstmjax.interop.dotted import Names, owned
from lstmjax.interop.keras_layers import KERAS_LAYERS, from_layers
from lstmjax.interop.reading import class_of, kinds
from lstmjax.interop.settings import Settings, conv_settings, settings_of
from lstmjax.interop.whole_models import RECURRENT, Filling, Kind, Report

_WEIGHT = {"kernel": "kernel", "bias": "bias"}
_NORM = {"scale": "gamma", "bias": "beta"}
_KINDS: dict[Any, Kind] = {
    nnx.Embed: Kind(("Embedding",), {"embedding": "embeddings"}),
    nnx.Linear: Kind(("Dense",), _WEIGHT),
    nnx.Conv: Kind(("Conv1D", "Conv2D", "Conv3D"), _WEIGHT),
    nnx.LayerNorm: Kind(("LayerNormalization",), _NORM),
    nnx.GroupNorm: Kind(("GroupNormalization",), _NORM),
    nnx.RMSNorm: Kind(("RMSNormalization",), {"scale": "scale"}),
    nnx.BatchNorm: Kind(("BatchNormalization",), _NORM | {"mean": "moving_mean", "var": "moving_variance"}),
} | dict.fromkeys(RECURRENT, Kind(KERAS_LAYERS))


def load_keras(model: nnx.Module, source: Any, names: Names, *, keep: Iterable[str] = ()) -> Report:
    """Fill a model with the weights of a Keras one, by a table of names: with all of them, or with none.

    Settings that change what is computed are compared, and refused where they differ. What acts in training alone, such
    as dropout, is the model's own, and so is what stands around its layers: activations, masks, the order of calls.

    Args:
      model: any module of Flax nnx, filled in place. Its layers may be `nnx.Embed`, `Linear`, `Conv`, `LayerNorm`,
        `RMSNorm`, `GroupNorm`, `BatchNorm`, and recurrent layers of lstmjax.
      source: a built model of Keras.
      names: from layers of the source, by their names ("inner.lstm" of a model inside), to layers of the model, by
        dotted paths such as "layers.1"; None leaves a layer out. Layers without weights need not be named.
      keep: layers and variables of the model to leave as they are.

    Returns:
      What went where, what was left out, what was kept, and notes on what the source does besides.

    Raises:
      TypeError: a source of another kind, a layer that is of another class than the source's, another dtype.
      ValueError: a name that leads nowhere, an array that has no place or a place that has no array, another shape or
        setting; a layer that is not built, goes backwards or has its channels first.

    >>> print(load_keras(model, source, {"embedding": "embed", "lstm": "rnn", "dense": "head"}))  # doctest: +SKIP
    """
    if "Model" not in kinds(source, "keras"):
        raise TypeError(f"source must be a keras model, got {type(source).__name__}")
    filling = Filling(model, "keras", _KINDS, keep)
    layers = dict(_layers(source))
    entries = {f"{name}.{end}": weight for name, layer in layers.items() for end, weight in _weights(layer)}
    for name, arrays in owned(names, entries, layers).items():
        path, layer = names[name], layers.get(name, source)  # a name of a layer, or of a whole model of several
        target = filling.target(name, path, arrays, layer)
        if path is None or target is None:
            continue
        if isinstance(target, RECURRENT):
            filling.put_recurrent(name, path, from_layers([layer]), arrays)
        else:
            filling.compare(name, path, settings_of(target), _settings(name, layer))
            filling.put_layer(name, path, arrays)
        filling.report.notes.extend(f"{name} has {note}" for note in _notes(layer))
    return filling.finish()


def _layers(model: Any, within: str = "") -> Iterator[tuple[str, Any]]:
    """Each layer that has weights, once, and its name; of a model inside, its layers."""
    for layer in model.layers:
        name = within + layer.name
        if "Model" in kinds(layer, "keras"):
            yield from _layers(layer, f"{name}.")
        elif layer.weights:
            yield name, layer.layer if class_of(layer, "keras", ("TimeDistributed",)) else layer


def _weights(layer: Any) -> Iterator[tuple[str, Any]]:
    """Its weights, and what they are called below the layer."""
    for weight in layer.weights:
        *path, last = weight.path.split("/")
        start = len(path) - path[::-1].index(layer.name) if layer.name in path else 0
        yield ".".join([*path[start:], last]), weight


def _settings(name: str, layer: Any) -> Settings:
    """What a layer has besides its weights, under Flax's names."""
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise ValueError(f"{name} must have its channels last, got data_format {layer.data_format!r}")
    if hasattr(layer, "kernel_size"):
        return conv_settings(layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding, layer.groups)
    settings = {"num_groups": "groups", "epsilon": "epsilon", "momentum": "momentum"}
    if hasattr(layer, "epsilon"):
        _check_norm(name, layer)
    return {ours: getattr(layer, theirs) for ours, theirs in settings.items() if hasattr(layer, theirs)}


def _check_norm(name: str, layer: Any) -> None:
    """It is over the last axis, as ours, and no other kind in disguise."""
    ndim = getattr(layer.input_spec, "ndim", None) or 0
    if layer.axis not in (-1, [-1], ndim - 1):
        raise ValueError(f"{name} must have its features last, axis -1, got axis {layer.axis}")
    if getattr(layer, "rms_scaling", False):
        raise ValueError(f"{name} must be without rms_scaling, which nnx.LayerNorm has not, got True")


def _notes(layer: Any) -> list[str]:
    """What a layer does besides, that ours has elsewhere or not at all."""
    settings = {name: getattr(layer, name, None) for name in ("dropout", "recurrent_dropout", "stateful", "mask_zero")}
    notes = [f"{name} {value}, which is for the model's own code" for name, value in settings.items() if value]
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    is_recurrent = class_of(layer, "keras", KERAS_LAYERS) is not None  # whose own is compared
    if activation != "linear" and not is_recurrent:
        notes.append(f"activation {activation}, which is for the model's own code")
    return notes
