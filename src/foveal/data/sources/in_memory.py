"""Images and their labels or masks in memory, written as a table of files: the form in which they are trained on.

An array of images of one size becomes one IDX file, anything else a file for each image. Nothing loses precision: what
has more than eight bits, or floats, is what `images.arrays` makes of it in prediction, too.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.data.images.array_batches import as_numpy_or_tensor, is_array, split_array
from foveal.data.images.arrays import from_pixels
from foveal.data.images.decode import to_rgb
from foveal.data.sources.datasets import encoded
from foveal.data.wording import count_of
from foveal.errors import UsageError

#: What `predict` and `fit` call an image that has no path.
_NAMED = "<image {}>"


def write_table(paths: Sequence[str], annotations: Sequence[str], column: str, folder: Path) -> Path:
    """Write paths and annotations as JSON lines, which can hold every character of a file name.

    Args:
        paths: of the images.
        annotations: the label or the path of the mask of each.
        column: the name that a table gives annotations.
        folder: where to.

    Raises:
        UsageError: when their numbers differ, or there are none.
    """
    check_counts(len(paths), len(annotations), column)
    if not paths:
        raise UsageError(
            f"found array with 0 sample(s): no images and no {column}s", hint="a minimum of 2 is required"
        )
    rows = [{"path": path, column: annotation} for path, annotation in zip(paths, annotations, strict=True)]
    table = folder / "data.jsonl"
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    table.write_text(text, encoding="utf-8", errors="surrogateescape")
    return table


def check_counts(images: int, annotations: int, column: str) -> None:
    """Raises `UsageError` when there is not one annotation for each image."""
    if images != annotations:
        counts = f"{count_of(images, 'image')} and {count_of(annotations, column)}"
        raise UsageError(f"{counts}: inconsistent numbers of samples", hint=f"give one {column} for each image")


def keep_images(images: object, folder: Path) -> list[str]:
    """Absolute paths of images; those in memory are written to the folder.

    Args:
        images: an array or a tensor of several, or anything to loop over that gives paths, Pillow images, arrays,
            tensors, the contents of image files as bytes, or binary file objects, in any mixture.
        folder: an empty one.

    Raises:
        UsageError: when they are not several images.
    """
    if is_array(images):
        array = as_numpy_or_tensor(images)
        if array.ndim == 2 and array.dtype != object and getattr(array.dtype, "kind", "") not in ("U", "T"):
            raise UsageError(
                f"expected images, got an array of shape {tuple(array.shape)}: rows of features",
                hint="Reshape your data with X.reshape(-1, height, width), or (-1, height, width, channels)",
            )
        if array.ndim == 4 or array.ndim == 3:
            return _as_idx(split_array(images, grey=True), folder / "images-idx3-ubyte")
        images = split_array(images)
    if isinstance(images, str | bytes | os.PathLike | Image.Image) or not isinstance(images, Iterable):
        raise UsageError(f"{_shown(images)} is not a list of images", hint="fit(folder), or fit(images, labels)")
    return [_file_of(image, folder, number) for number, image in enumerate(images)]


def keep_masks(masks: object, folder: Path) -> list[str]:
    """Absolute paths of masks; those in memory are written to the folder, each value as it is.

    Args:
        masks: anything to loop over that gives paths, contents of files, Pillow images, or arrays `(H, W)` of
            integers from 0 to 255 or truth values; an array `(N, H, W)`.
        folder: an empty one.

    Raises:
        UsageError: for an array of another shape, type or range.
    """
    if not isinstance(masks, Iterable) or isinstance(masks, str | bytes):
        raise UsageError(f"{_shown(masks)} is not a list of masks", hint="give one mask for each image")
    return [
        _file_of(_mask_image(mask, number) if is_array(mask) else mask, folder, number)
        for number, mask in enumerate(masks)
    ]


def _mask_image(mask: Any, number: int) -> Image.Image:  # noqa: ANN401
    array = np.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask)
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        array = array.squeeze(0 if array.shape[0] == 1 else 2)
    if array.ndim != 2 or array.dtype.kind not in "biu" or array.size == 0:
        raise UsageError(
            f"mask {number}: an array of {array.dtype} of shape {array.shape}", hint="give integers (H, W)"
        )
    if not 0 <= int(array.min()) <= int(array.max()) <= 255:
        raise UsageError(
            f"mask {number}: values from {array.min()} to {array.max()}", hint="give 0 to 255; 255 is ignored"
        )
    return Image.fromarray(array.astype(np.uint8))


def _file_of(image: Any, folder: Path, number: int) -> str:  # noqa: ANN401
    """The path of one image, which is written if it has none."""
    if isinstance(image, str | os.PathLike):
        return os.path.abspath(os.fspath(image))
    file = folder / f"{number:06d}.png"
    file.write_bytes(_content_of(image, _NAMED.format(number)))
    return str(file)


def _content_of(image: Any, name: str) -> bytes:  # noqa: ANN401
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, Image.Image) or is_array(image):
        return encoded(image, name)
    content = image.read() if hasattr(image, "read") else None
    if not isinstance(content, bytes):
        raise UsageError(
            f"{name}: {_shown(image)} is not an image", hint="give a path, a Pillow image or an array"
        )
    return content


def _as_idx(images: Sequence[object], file: Path) -> list[str]:
    """Write images of one size to an IDX file; see `images.idx`."""
    with file.open("wb") as handle:
        shape: tuple[int, ...] | None = None
        for number, image in enumerate(images):
            pixels = _grey_or_rgb(image, _NAMED.format(number))
            if shape is None:
                shape = pixels.shape
                _write_header(handle, (len(images), *shape))
            handle.write(pixels.tobytes())
    return [f"{file}#{number}" for number in range(len(images))]


def _grey_or_rgb(image: object, name: str) -> NDArray[np.uint8]:
    opened = from_pixels(image, name)
    return np.asarray(opened if opened.mode == "L" else to_rgb(opened))


def _write_header(handle: BinaryIO, shape: tuple[int, ...]) -> None:
    handle.write(struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape))


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text[:60]}"
