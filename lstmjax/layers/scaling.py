"""Time series brought to one scale by statistics of their training part, and forecasts brought back, on the host."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from lstmjax import checks
from lstmjax.layers.standardize import LARGEST

SCALINGS = ("none", "standard", "minmax", "robust")
Scaling = Literal["none", "standard", "minmax", "robust"]
TRANSFORMS = ("none", "log", "sqrt")
Transform = Literal["none", "log", "sqrt"]


class Scale(NamedTuple):
    """`z = (transform(x) - shift) / scale` for each channel, and back, in float64.

    Args:
      shift, scale: [C].
      transform: "log", for numbers above 0 whose changes grow with them; "sqrt", for counts and others of at least 0,
        whose variance does; or "none".

    >>> scale = Scale(np.array([1.0]), np.array([2.0]), "sqrt")
    >>> scale(np.array([[25.0]])).tolist(), scale.inverse(np.array([[2.0]])).tolist()
    ([[2.0]], [[25.0]])
    """

    shift: np.ndarray
    scale: np.ndarray
    transform: Transform = "none"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """What the user has [..., C], scaled, float32.

        Raises:
          ValueError: a number that the transform has no value for.
        """
        scaled: np.ndarray = (transformed(x, self.transform) - self.shift) / self.scale
        return scaled.astype(np.float32)

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """What was scaled [..., C], as the user has it, float64; below 0, where sqrt never comes, 0."""
        restored: np.ndarray = np.asarray(z, np.float64) * self.scale + self.shift
        match self.transform:
            case "log":
                restored = np.exp(restored)
            case "sqrt":
                restored = np.square(np.maximum(restored, 0.0))
        return restored


def transformed(x: np.ndarray, transform: Transform) -> np.ndarray:
    """The logarithm or the square root of numbers or NaN, float64.

    Raises:
      ValueError: a number that has none.

    >>> transformed(np.array([4.0, np.nan]), "sqrt").tolist()
    [2.0, nan]
    """
    x = np.asarray(x, np.float64)
    if transform == "none":
        return x
    if (transform == "log" and np.any(x <= 0)) or np.any(x < 0):
        limit = "above" if transform == "log" else "of at least"
        raise ValueError(f"transform {transform} needs numbers {limit} 0, got {np.nanmin(x):g}")
    changed: np.ndarray = np.log(x) if transform == "log" else np.sqrt(x)
    return changed


class SeriesScaler(nnx.Module):
    """`(transform(x) - shift) / scale` for each series and channel, and back, in float64.

        standard: shift = mean, scale = standard deviation;    minmax: minimum, and maximum - minimum;
        robust: median, and the distance between the quartiles;    none: 0 and 1

    The statistics are those of transformed numbers, are measured by `adapt` on the training part, are not trained, and
    are saved with the model in float32. The arithmetic is NumPy's in float64, so that numbers far from 0 lose no
    digits. A channel that never changes, or was never observed, keeps the scale 1.

    Args:
      channels: C.
      scaling: which statistics.
      num_series: S, series that each have their own; 1 where they share one.
      transform: what is done to numbers first; see `Scale`.

    >>> scaler = lx.layers.SeriesScaler(1, "minmax")
    >>> scaler.adapt([np.array([[2.0], [np.nan], [6.0]])])
    >>> scaled = scaler(np.array([[3.0], [10.0]]))
    >>> scaled.tolist(), scaler.inverse(scaled).tolist()
    ([[0.25], [2.0]], [[3.0], [10.0]])
    """

    def __init__(
        self, channels: int, scaling: Scaling = "standard", num_series: int = 1, transform: Transform = "none"
    ) -> None:
        checks.one_of("scaling", scaling, SCALINGS)
        checks.one_of("transform", transform, TRANSFORMS)
        shape = (checks.positive_int("num_series", num_series), checks.positive_int("channels", channels))
        self.channels, self.scaling, self.num_series, self.transform = channels, scaling, num_series, transform
        self.shift = nnx.Variable(jnp.zeros(shape, jnp.float32))
        self.scale = nnx.Variable(jnp.ones(shape, jnp.float32))

    def adapt(self, parts: Sequence[np.ndarray]) -> None:
        """Measure the statistics of the training parts [T, C] of S series, or of any number that share one.

        Raises:
          ValueError: another number of series or of channels, or a number too large for float32.
        """
        for number, part in enumerate(parts):
            checks.shape(f"parts[{number}]", part, ("T", self.channels))
        if self.num_series == 1:
            parts = [np.concatenate(list(parts))]
        if len(parts) != self.num_series:
            raise ValueError(f"parts must be those of {self.num_series} series, got {len(parts)}")
        found = [statistics(part, self.scaling, self.transform) for part in parts]
        self.shift[...] = jnp.asarray(np.stack([each.shift for each in found]), jnp.float32)
        self.scale[...] = jnp.asarray(np.stack([each.scale for each in found]), jnp.float32)

    def __call__(self, x: np.ndarray, series: int = 0) -> np.ndarray:
        """What the user has [..., C], scaled, float32."""
        return self.of(series)(self._checked("x", x))

    def inverse(self, z: np.ndarray, series: int = 0) -> np.ndarray:
        """What was scaled [..., C], as the user has it, float64."""
        return self.of(series).inverse(self._checked("z", z))

    def of(self, series: int) -> Scale:
        """The scale of a series by its number; where all share one, the number doesn't matter."""
        row = 0 if self.num_series == 1 else checks.index("series", series, 0, self.num_series - 1)
        return Scale(np.asarray(self.shift[row], np.float64), np.asarray(self.scale[row], np.float64), self.transform)

    def _checked(self, name: str, array: np.ndarray) -> np.ndarray:
        array = np.asarray(array, np.float64)
        if array.shape[-1:] != (self.channels,):
            raise ValueError(f"{name} must have shape [..., {self.channels}], got {list(array.shape)}")
        return array


def scaled(scaler: SeriesScaler | None, x: np.ndarray) -> np.ndarray:
    """What a scaler makes of [..., C], float32; without one there are no columns, and nothing to scale.

    >>> scaled(None, np.zeros((3, 0))).dtype
    dtype('float32')
    """
    return np.asarray(x, np.float32) if scaler is None else scaler(x)


def statistics(part: np.ndarray, scaling: Scaling, transform: Transform = "none") -> Scale:
    """The scale that the observed values of a series [T, C] ask for, as float32 will hold it.

    Raises:
      ValueError: a value that is infinite, too large for float32, or that the transform has no value for.
    """
    part = np.asarray(part, np.float64)
    if np.any(np.abs(part) > LARGEST):
        raise ValueError(f"expected numbers of at most {LARGEST:g}, got {np.nanmax(np.abs(part)):g}")
    channels = [channel[~np.isnan(channel)] for channel in transformed(part, transform).T]
    measured = [_statistics(channel, scaling) if len(channel) else (0.0, 1.0) for channel in channels]
    shift, scale = np.array(measured, np.float32).reshape(-1, 2).T.astype(np.float64)
    scale = np.where(scale > 1e-12 * np.abs(shift), scale, 1.0)  # the rest is float64's rounding
    return Scale(shift, scale, transform)


def _statistics(values: np.ndarray, scaling: Scaling) -> tuple[float, float]:
    match scaling:
        case "standard":
            return float(values.mean()), float(values.std())
        case "minmax":
            return float(values.min()), float(values.max() - values.min())
        case "robust":
            low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
            return float(middle), float(high - low)
    return 0.0, 1.0
