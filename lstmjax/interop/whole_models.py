"""Another library's layers into those of a model: all that is there finds its place, or the model stays as it is."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from lstmjax import checks
from lstmjax.interop.dotted import below, covers, shortened
from lstmjax.interop.reading import class_of, copied
from lstmjax.interop.settings import Settings, differing, settings_of, written
from lstmjax.interop.writing import layers_of
from lstmjax.layers import Bidirectional, Recurrent, Stacked

RECURRENT = (Recurrent, Bidirectional, Stacked)


class Report(NamedTuple):
    """What became of a source's arrays and of a model's variables; `print` shows it a line each.

    Args:
      loaded: from each array of the source to the variable, or the recurrent layer, that it went into.
      left_out: arrays of the source that went nowhere.
      kept: variables of the model that are as they were.
      notes: what the arrays don't hold, so that the model must have it of its own to compute the same.
    """

    loaded: dict[str, str]
    left_out: list[str]
    kept: list[str]
    notes: list[str]

    def __str__(self) -> str:
        lines = [f"{name} -> {path}" for name, path in self.loaded.items()]
        lines += [f"left out: {name}" for name in self.left_out]
        lines += [f"kept: {path}" for path in self.kept]
        return "\n".join(lines + [f"note: {note}" for note in self.notes])


class Kind(NamedTuple):
    """What a library has for one of our layers or Flax's.

    Args:
      classes: its classes there.
      places: from our variables to their arrays; of recurrent layers, which `layouts.py` has, none.
      unused: arrays that we have no use for.
    """

    classes: tuple[str, ...]
    places: Mapping[str, str] = {}
    unused: tuple[str, ...] = ()


Kinds = Mapping[Any, Kind]


class Filling:
    """A model about to be filled. Nothing in it changes before `finish`.

    Args:
      model: any module.
      library: the source's, as its package is called.
      kinds: what the library has for which of our layers.
      keep: paths of what is to stay as it is.
    """

    def __init__(self, model: nnx.Module, library: str, kinds: Kinds, keep: Iterable[str]) -> None:
        checks.instance("model", model, nnx.Module)
        self.library, self.kinds = library, kinds
        nodes = {".".join(map(str, path)): node for path, node in nnx.iter_graph(model)}
        self.modules = {path: node for path, node in nodes.items() if isinstance(node, nnx.Module)}
        self.variables = {
            path: node
            for path, node in nodes.items()
            if isinstance(node, nnx.Variable) and not isinstance(node, nnx.RngState)
        }
        self.arrays: dict[str, np.ndarray] = {}
        self.report = Report({}, [], [], [])
        self._keep(keep)

    def target(self, name: str, path: str | None, arrays: Mapping[str, Any], layer: object = None) -> Any:
        """The layer of the model that stands at `path`; None where there is nothing more to do.

        That is so of arrays that are left out, and of one that goes into a variable as it is.

        Args:
          name, path: an item of `names`.
          arrays: of the source, by the ends of their names.
          layer: the source's own, if it is known.

        Raises:
          ValueError: no layer of a known kind stands there.
          TypeError: the source's is of another kind.
        """
        if path is None:
            self.report.left_out.extend(below(name, end) for end in arrays)
            return None
        if path in self.variables and list(arrays) == [""]:
            self.put(name, path, arrays[""])
            self.report.loaded[name] = path
            return None
        kind = self.kind(path)
        if kind is None:
            places = ", ".join(map(repr, self._places()))
            raise ValueError(f"names must lead {name!r} to a layer of the model, one of {places}, got {path!r}")
        if layer is not None and class_of(layer, self.library, kind.classes) is None:
            wanted = ", ".join(kind.classes)
            raise TypeError(
                f"{name or 'source'} must be of {self.library}'s {wanted} to fill {path}, got {type(layer).__name__}"
            )
        return self.modules[path]

    def kind(self, path: str) -> Kind | None:
        """That of the layer at a path: of the first of its classes that has one."""
        return next((self.kinds[one] for one in type(self.modules.get(path)).__mro__ if one in self.kinds), None)

    def _places(self) -> list[str]:
        """Paths of layers with a kind, but for those inside another."""
        known = [path for path in self.modules if self.kind(path) is not None]
        return [path for path in known if not any(covers(other, path) for other in known if other != path)]

    def put(self, name: str, path: str, value: Any, turned: bool = False) -> None:
        """An array for a variable.

        Args:
          name: of the array, in the source.
          path: of the variable, in the model.
          value: an array of any library.
          turned: it is [outputs, inputs, *window], as PyTorch has it, and not [*window, inputs, outputs].

        Raises:
          TypeError, ValueError: it does not fit, or the variable has got another.
        """
        array, variable = copied(name, value), self.variables[path]
        what, shape = f"{name}, for {path},", variable.shape
        checks.shape(what, array, (shape[-1], shape[-2], *shape[:-2]) if turned else shape)
        checks.dtype_among(what, array, [variable.dtype])
        if path in self.arrays:
            raise ValueError(f"names must lead to each place once, got {path} for {name} and for another")
        if path in self.report.kept:
            raise ValueError(f"keep must name what nothing is loaded into, got {path}, which {name} goes into")
        self.arrays[path] = np.moveaxis(array, (0, 1), (-1, -2)) if turned else array

    def put_layer(self, name: str, path: str, arrays: Mapping[str, Any], turned: bool = False) -> None:
        """A layer that is not recurrent, from arrays by the ends of their names."""
        kind = self.kind(path) or Kind(())
        for variable, end in kind.places.items():
            ours, theirs = below(path, variable), below(name, end)
            if (ours in self.variables) != (end in arrays):
                whole, lacks, has = ("source", theirs, ours) if ours in self.variables else ("model", ours, theirs)
                raise ValueError(f"{whole} must have {lacks} as there is {has}, got none")
            if end in arrays:
                self.put(theirs, ours, arrays[end], turned and variable == "kernel")
                self.report.loaded[theirs] = ours
        for end in arrays.keys() - set(kind.places.values()):
            if end not in kind.unused:
                raise ValueError(f"{name} must hold nothing but {', '.join(kind.places.values())}, got {end} too")
            self.report.left_out.append(below(name, end))

    def put_recurrent(self, name: str, path: str, found: Stacked, ends: Iterable[str]) -> None:
        """A recurrent layer, or several, from the same with the source's weights."""
        ours, theirs = layers_of(self.modules[path]), found.layers
        if len(ours) != len(theirs):
            raise ValueError(f"{path} must have as many layers as {name}, {len(theirs)}, got {len(ours)}")
        is_stack = isinstance(self.modules[path], Stacked)
        for depth, pair in enumerate(zip(ours, theirs, strict=True)):
            self._put_ways(name, below(path, f"layers.{depth}") if is_stack else path, *pair)
        self.report.loaded.update({below(name, end): path for end in ends})

    def _put_ways(self, name: str, path: str, ours: Any, theirs: Any) -> None:
        """The one or two directions of a layer."""
        if not isinstance(ours, type(theirs)):
            raise TypeError(f"{path} must be {type(theirs).__name__} to hold {name}, got {type(ours).__name__}")
        if not isinstance(ours, Bidirectional):
            self.compare(name, path, settings_of(ours.cell), settings_of(theirs.cell))
            for field, value in theirs.params._asdict().items():
                if value is not None:
                    self.put(name, below(path, f"weights.{field}"), value)
            return
        self.compare(name, path, {"merge": ours.merge}, {"merge": theirs.merge})
        for way in ("forward", "backward"):
            self._put_ways(name, below(path, way), getattr(ours, way), getattr(theirs, way))

    def compare(self, name: str, path: str, ours: Settings, theirs: Settings | None) -> None:
        """A layer's settings with the source's, if these are known.

        Raises:
          ValueError: it would compute something else.
        """
        if theirs is None and ours:
            settings = ", ".join(f"{setting} {written(value)}" for setting, value in ours.items())
            self.report.notes.append(f"{path or 'model'} has {settings}; arrays don't say what {name or 'source'} has")
        for setting in differing(ours, theirs or {}):
            value, got = (written(one[setting]) for one in (theirs or {}, ours))
            sentence = f"{path or 'model'} must have {setting} {value}, as {name or 'source'} has it, got {got}"
            if setting != "momentum":
                raise ValueError(sentence)
            self.report.notes.append(f"to be trained on as it was, {sentence}")

    def finish(self) -> Report:
        """Fill the model.

        Raises:
          ValueError: a variable is neither filled nor to be kept.
        """
        missing = [path for path in self.variables if path not in self.arrays and path not in self.report.kept]
        if missing:
            untouched = [one for one in self._places() if not any(covers(one, path) for path in self.arrays)]
            lacking = ", ".join(map(repr, shortened(missing, untouched)))
            raise ValueError(f"names must fill all of the model but what keep names, got nothing for {lacking}")
        for path, array in self.arrays.items():
            self.variables[path][...] = jnp.array(array)
        return self.report

    def _keep(self, keep: Iterable[str]) -> None:
        if isinstance(keep, str):
            raise TypeError(f"keep must be a list of paths in the model, got {keep!r}")
        for path in keep:
            covered = [variable for variable in self.variables if covers(path, variable)]
            if not covered:
                raise ValueError(f"keep must be paths of the model that hold variables, got {path!r}")
            self.report.kept.extend(one for one in covered if one not in self.report.kept)
