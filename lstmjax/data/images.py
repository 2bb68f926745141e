"""Clips with labels and images with texts from NPZ files; images from files of their own.

Pixels are uint8, or floats in [0, 1]. Messages count clips, images, frames, rows and columns from 0, as NumPy does.
"""

from pathlib import Path
from typing import Any

import numpy as np

from lstmjax.data.examples import Labelled
from lstmjax.data.npz import check_lengths, outline, read_arrays
from lstmjax.errors import InputError

MODES = {1: "L", 3: "RGB"}
"""What Pillow calls images of so many channels."""
PLAIN_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")


def read_clips(path: str | Path, *, has_labels: bool = True) -> Labelled:
    """Clips `clips` with their `labels` and, where they do not fill their rows, `lengths`.

    Args:
      path: an NPZ file. `clips`: pixels [N, T, H, W] or [N, T, H, W, C]. `lengths`: whole numbers [N] in 1..T; clips
        are cut there. `labels`: texts or whole numbers, [N], or [N, T] for a label a frame.
      has_labels: read `labels`; otherwise they may be missing, and are not looked at.

    Returns:
      N arrays [T_n, H, W, C], uint8 or float32; as targets N labels, or N tuples of T_n labels, or None without
      `has_labels`.

    Raises:
      InputError: a file that can't be read or holds something else; pickled objects are refused, not run.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "clips.npz")
    ...     np.savez(path, clips=np.zeros((2, 3, 8, 8), np.uint8), labels=["up", "down"], lengths=[3, 2])
    ...     clips = read_clips(path)
    >>> [clip.shape for clip in clips.sequences], clips.targets
    ([(3, 8, 8, 1), (2, 8, 8, 1)], ['up', 'down'])
    """
    needed, ignored = (["clips", "labels"], []) if has_labels else (["clips"], ["labels"])
    arrays = read_arrays(path, needed, ["lengths"], ignored)
    clips = _pixels(path, "clips", arrays["clips"], ("clip", "frame"))
    count, steps = clips.shape[:2]
    given = arrays.get("lengths", np.full(count, steps))
    lengths = check_lengths(path, given, clips, 1, ("clips", "clip"))
    check_unit(path, clips, ("clip", "frame"), np.arange(steps) < np.array(lengths)[:, None])
    places = [f"{path}, clip {number}" for number in range(count)]
    cut = [narrow(clip[:length]) for clip, length in zip(clips, lengths, strict=True)]
    targets = _labels(path, arrays["labels"], places, lengths, steps) if has_labels else None
    return Labelled(cut, targets, places)


def read_images(path: str | Path, *, has_texts: bool = True) -> Labelled:
    """Images `images` with their `texts`.

    Args:
      path: an NPZ file. `images`: pixels [N, H, W] or [N, H, W, C]. `texts`: N texts, none of them blank.
      has_texts: read `texts`; otherwise they may be missing, and are not looked at.

    Returns:
      N arrays [H, W, C], uint8 or float32; as targets N texts, or None without `has_texts`.

    Raises:
      InputError: a file that can't be read or holds something else; pickled objects are refused, not run.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "images.npz")
    ...     np.savez(path, images=np.zeros((2, 8, 8), np.uint8), texts=["one", "two"])
    ...     images = read_images(path)
    >>> [image.shape for image in images.sequences], images.targets
    ([(8, 8, 1), (8, 8, 1)], ['one', 'two'])
    """
    needed, ignored = (["images", "texts"], []) if has_texts else (["images"], ["texts"])
    arrays = read_arrays(path, needed, [], ignored)
    images = _pixels(path, "images", arrays["images"], ("image",))
    check_unit(path, images, ("image",))
    images = narrow(images)
    places = [f"{path}, image {number}" for number in range(len(images))]
    if not has_texts:
        return Labelled(list(images), None, places)
    texts = arrays["texts"]
    if texts.dtype.kind != "U" or texts.shape != (len(images),):
        raise InputError(f"{path}: texts must be texts [{len(images)}], as images, got {outline(texts)}")
    return Labelled(list(images), [_label(place, text) for place, text in zip(places, texts, strict=True)], places)


def read_picture(path: str | Path, image_shape: tuple[int, int, int]) -> Labelled:
    """One image from a file such as a PNG.

    Args:
      path: anything that Pillow reads, of 8 bits: black and white, grey, a palette, or colours, opaque.
      image_shape: H, W, C that it must have; where C is 1, colours become grey, where it is 3, grey becomes a colour.

    Returns:
      one array uint8 [H, W, C], without targets.

    Raises:
      InputError: it can't be read, is of another size, has 16 bits or transparent pixels, or Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError(f"to read {path}, the library pillow is needed: pip install pillow") from error
    height, width, channels = image_shape
    try:
        with Image.open(path) as image:
            if image.size != (width, height):  # before its pixels are read, which may be very many
                came = f"{image.size[0]} x {image.size[1]}"
                raise InputError(f"{path} must be {width} x {height} pixels wide and high, got {came}")
            pixels = _as_mode(path, image, MODES[channels])
    except OSError as error:
        raise InputError(f"{path} is not a readable image: {error.strerror or error}") from error
    except InputError:
        raise
    except (Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is not a readable image: {error}") from error
    return Labelled([pixels.reshape(image_shape)], None, [str(path)])


def _as_mode(path: str | Path, image: Any, mode: str) -> np.ndarray:
    """Pixels of an open image in another of Pillow's modes, uint8; nothing is lost but colours."""
    if image.mode not in PLAIN_MODES:
        raise InputError(f"{path} must have 8 bits a pixel and colour, got Pillow's mode {image.mode}")
    opacity = np.asarray(image.convert("RGBA"))[..., 3]
    if opacity.min() < 255:
        raise InputError(f"{path} has transparent pixels; expected an image on a background of its own")
    return np.asarray(image.convert(mode))


def _pixels(path: str | Path, name: str, array: np.ndarray, axes: tuple[str, ...]) -> np.ndarray:
    """Pixels [*axes, H, W, C], uint8 or floats."""
    if array.ndim not in (len(axes) + 2, len(axes) + 3) or not (array.dtype == np.uint8 or array.dtype.kind == "f"):
        lead = ", ".join("NT"[: len(axes)])
        shapes = f"[{lead}, H, W] or [{lead}, H, W, C]"
        raise InputError(f"{path}: {name} must be uint8, or floats in [0, 1], {shapes}, got {outline(array)}")
    if array.size == 0:
        raise InputError(f"{path}: {name} must have at least one pixel, got {outline(array)}")
    return array if array.ndim == len(axes) + 3 else array[..., None]


def check_unit(path: str | Path, array: np.ndarray, axes: tuple[str, ...], is_there: np.ndarray | bool = True) -> None:
    """Floats [*axes, H, W, C] lie in [0, 1] where `is_there` [*axes]; what only fills rows up may be anything."""
    if array.dtype == np.uint8:
        return
    is_wrong = ~((array >= 0) & (array <= 1)) & np.expand_dims(is_there, (-3, -2, -1))
    if is_wrong.any():
        at = np.argwhere(is_wrong)[0].tolist()
        where = ", ".join(f"{axis} {place}" for axis, place in zip((*axes, "row", "column"), at, strict=False))
        raise InputError(f"{path}, {where}: expected a number in [0, 1], got {array[tuple(at)]}")


def narrow(pixels: np.ndarray) -> np.ndarray:
    """uint8 as it is, floats as float32."""
    return pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)


def _labels(
    path: str | Path, labels: np.ndarray, places: list[str], lengths: list[int], steps: int
) -> list[str] | list[tuple[str, ...]]:
    count = len(places)
    if labels.dtype.kind not in "Uiu" or labels.shape not in ((count,), (count, steps)):
        wanted = f"texts or whole numbers, [{count}] or [{count}, {steps}], as clips"
        raise InputError(f"{path}: labels must be {wanted}, got {outline(labels)}")
    if labels.ndim == 1:
        return [_label(place, label) for place, label in zip(places, labels, strict=True)]
    return [
        tuple(_label(f"{place}, frame {frame}", label) for frame, label in enumerate(row[:length]))
        for place, row, length in zip(places, labels, lengths, strict=True)
    ]


def _label(place: str, label: object) -> str:
    if not str(label).strip():
        raise InputError(f"{place}: expected a text that is not blank, got {str(label)!r}")
    return str(label)
