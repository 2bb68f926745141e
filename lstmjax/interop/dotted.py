"""Dotted names of layers and arrays, such as "encoder.rnn.weight_ih_l0", and the table from a source's to a model's."""

from collections.abc import Iterable, Mapping
from typing import Any

from lstmjax import checks

Names = Mapping[str, str | None]


def covers(name: str, entry: str) -> bool:
    """Whether an entry has this name or stands below it; "" covers all."""
    return not name or entry == name or entry.startswith(f"{name}.")


def below(path: str, name: str) -> str:
    """The path of a name below another."""
    return f"{path}.{name}".strip(".")


def owned(names: Names, entries: Mapping[str, Any], layers: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The entries that each of `names` covers, by the ends of their names; a longer name goes before a shorter.

    Args:
      names: from a source's names to a model's paths.
      entries: all arrays of the source.
      layers: the source's layers, to be named in errors.

    Raises:
      TypeError: no such table.
      ValueError: a name that covers nothing, or an entry that no name covers.
    """
    _check_table(names)
    groups: dict[str, dict[str, Any]] = {name: {} for name in names}
    nowhere = []
    for entry, value in entries.items():
        owner = max((name for name in names if covers(name, entry)), key=len, default=None)
        if owner is None:
            nowhere.append(entry)
        else:
            groups[owner][entry.removeprefix(owner).removeprefix(".")] = value
    for name, group in groups.items():
        if not group:
            raise ValueError(f"names must be among the source's {_above(entries, layers)}, got {name!r}")
    if nowhere:
        lacking = _above(nowhere, layers)
        raise ValueError(f"names must say where each layer goes, or None for nowhere, got nothing for {lacking}")
    return groups


def shortened(entries: Iterable[str], layers: Iterable[str]) -> list[str]:
    """Each entry's layer, once; an entry that is in none, itself."""
    layers = list(layers)
    return list(dict.fromkeys(next((one for one in layers if covers(one, entry)), entry) for entry in entries))


def _above(entries: Iterable[str], layers: Iterable[str]) -> str:
    return ", ".join(map(repr, shortened(entries, layers)))


def _check_table(names: object) -> None:
    if not isinstance(names, Mapping):
        raise TypeError(f"names must be a dict from names to paths, got {type(names).__name__}")
    for name, path in names.items():
        checks.instance(f"names[{name!r}]", path, str, type(None))
