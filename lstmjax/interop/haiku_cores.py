"""Weights from and to `haiku.LSTM`, `GRU` and `VanillaRNN`. Haiku itself is not needed."""

from collections.abc import Mapping, Sequence
from typing import Any

from lstmjax.interop.layouts import Arrays
from lstmjax.interop.reading import flat, guess, recurrent, stacked
from lstmjax.interop.writing import entries_of, only_cell, style_for
from lstmjax.layers import Recurrent, Stacked

_MODULES = {"LSTM": "lstm", "GRU": "gru", "VanillaRNN": "vanilla_rnn"}


def from_haiku(source: Any) -> Stacked:
    """A stack that computes what Haiku cores do, one on another.

    Haiku's LSTM adds 1 to its forget gate at run time; ours has it in `b`, where adding it can cost the last bit of an
    entry. Its GRU lets in what ours keeps out (z there is 1 - z here), so weights of z change sign, which is exact. Its
    VanillaRNN has two biases, of which the sum is kept.

    Args:
      source: one core's parameters, {"lstm/linear": {"w": ..., "b": ...}} or {"gru": {"w_i": ..., "w_h": ..., "b":
        ...}}, in which the core may have any name; or a list of these, bottom first.

    Returns:
      `lx.Stacked` of `lx.Recurrent` layers over `lx.cells.LSTM`, `GRU` (reset_after=False) or `ElmanRNN` (relu).

    Raises:
      TypeError: another kind of source, an entry that is no floating array, entries of several dtypes, float64 while
        jax_enable_x64 is off.
      ValueError: an entry that is missing, not known or of another shape, or parameters of several cores.

    >>> layer = from_haiku({"lstm/linear": {"w": jnp.ones((3 + 5, 20)), "b": jnp.zeros(20)}})
    >>> layer.layers[0].params.b[5:10].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    sources = source if isinstance(source, Sequence) else [source]
    return stacked([_from_core(one)] for one in sources)


def to_haiku(layer: Any, name: str | None = None) -> dict[str, Arrays]:
    """The parameters of the Haiku core that computes what `layer` does.

    Taking the 1 that Haiku's LSTM adds out of `b` is exact for entries from 0.5 to 2 (fresh ones are 1) and can cost
    the last bit of others. A layer without biases gives zeros; VanillaRNN's second bias is always zero.

    Args:
      layer: a layer of one LSTM, GRU (reset_after=False) or ElmanRNN (relu) cell; of a stack, each of its `.layers`.
      name: the core's; None means Haiku's own, such as "lstm".

    Returns:
      NumPy arrays by module and name.

    Raises:
      TypeError: more than one cell, or one that Haiku has not.
      ValueError: other functions than Haiku has, or a learned initial state.

    >>> to_haiku(lx.LSTM(3, 5, rngs=nnx.Rngs(0)))["lstm/linear"]["w"].shape
    (8, 20)
    """
    ours = only_cell(layer)
    core = name or _MODULES[style_for("haiku", ours.cell)]
    parameters: dict[str, Arrays] = {}
    for entry, array in entries_of("haiku", ours).items():
        *module, last = entry.split(".")
        parameters.setdefault("/".join([core, *module]), {})[last] = array
    return parameters


def core_entries(source: Mapping[str, Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """A core's name, and its arrays without it: {"lstm/linear": {"w": w}} is "lstm" and {"linear.w": w}.

    Raises:
      ValueError: several cores, or none.
    """
    cores = {module.removesuffix("/linear_1").removesuffix("/linear") for module in source}
    if len(cores) != 1:
        raise ValueError(f"source must hold one core's parameters, got {', '.join(sorted(cores)) or 'none'}")
    core = cores.pop()
    return core, flat({module.removeprefix(core).strip("/"): arrays for module, arrays in source.items()})


def _from_core(source: Any) -> Recurrent:
    if not isinstance(source, Mapping) or not all(isinstance(arrays, Mapping) for arrays in source.values()):
        raise TypeError(f"source must be one haiku core's parameters by module and name, got {type(source).__name__}")
    core, entries = core_entries(source)

    def called(entry: str) -> str:
        *module, last = entry.split(".")
        return f"{'/'.join([core, *module])}.{last}"

    return recurrent(guess(["haiku"], entries), entries, called)
