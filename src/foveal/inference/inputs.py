"""What a model predicts on: files by name, encoded images in memory, open images and arrays."""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.config import MAX_PIXELS
from foveal.data.images.decode import REASONS, WHITE, decode, finish, read_file
from foveal.data.images.idx import is_idx, read_idx
from foveal.errors import UnreadableImage, UsageError


@runtime_checkable
class BinaryFile(Protocol):
    """A file object that was opened in binary mode."""

    def read(self) -> bytes:
        """All that is left of its content."""
        ...


#: An image: a file by name; the content of an image file, as bytes or as a binary file object; an open Pillow
#: image; an array `(H, W)`, `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)`.
ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryFile | Image.Image | NDArray[Any]

#: Pillow decodes an open image when it is first used, and not from two threads at once. One lock for each image
#: would have to be kept with it, so images share a few.
_DECODING = tuple(threading.Lock() for _ in range(64))


def name_of(image: ImageInput, number: int = 0) -> str:
    """The path of an image, or the name of a file object; `<image N>` for one that has none."""
    if _is_path(image):
        return os.fspath(image)
    name = getattr(image, "name", None) if isinstance(image, BinaryFile) else None
    return name if isinstance(name, str) else f"<image {number}>"


def decode_input(
    image: ImageInput,
    name: str,
    *,
    shrink_to: int | None = None,
    max_pixels: int = MAX_PIXELS,
    background: tuple[int, int, int] = WHITE,
) -> Image.Image:
    """Any image as a decoded RGB image; the arguments are those of `decode`.

    Raises:
        UnreadableImage: with its reason code.
        UsageError: when it is none of `ImageInput`.
    """
    if isinstance(image, Image.Image):
        with _DECODING[id(image) % len(_DECODING)]:
            return finish(image, name, shrink_to=shrink_to, background=background)
    content = _content_of(image, name)
    if content is None:
        return finish(from_array(image), name, shrink_to=shrink_to, background=background)
    return decode(content, name, shrink_to=shrink_to, max_pixels=max_pixels, background=background)


def _content_of(image: ImageInput, name: str) -> bytes | None:
    """The encoded content of an image; None where it is pixels already."""
    if _is_path(image):
        return read_file(os.fspath(image))
    if isinstance(image, BinaryFile):
        content = image.read()
        if not isinstance(content, bytes):
            raise UsageError(f"{name}: its read() returns text", hint="open the file in binary mode, 'rb'")
    elif isinstance(image, bytes | bytearray | memoryview):
        content = bytes(image)
    else:
        return None
    if not content:
        raise UnreadableImage(name, "empty_file", REASONS["empty_file"])
    return content


def from_array(values: Any) -> Image.Image:  # noqa: ANN401
    """An array as an image: 8 bits as they are, 16 bits by 257, floats scaled from 0-1.

    Raises:
        UsageError: when its shape is not that of an image.
    """
    array = np.asarray(values)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if 0 in array.shape or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise UsageError(
            f"not an image: an array of shape {array.shape}", hint="give (H, W), (H, W, 3) or (H, W, 4)"
        )
    if array.dtype.kind == "f":
        array = np.clip(array, 0.0, 1.0) * 255.0
    elif array.dtype == np.uint16:
        array = array / 257.0
    return Image.fromarray(np.rint(array).astype(np.uint8))


def each_image(images: ImageInput | Sequence[ImageInput]) -> Iterable[ImageInput]:
    """The images of one image, a folder, a glob, a batch `(N, H, W, C)`, an array of names, or a list."""
    if _is_path(images):
        return find_images([images])
    if isinstance(images, np.ndarray):
        if images.dtype.kind in "UO":  # names, not pixels
            return [str(i) if isinstance(i, np.str_) else i for i in images.ravel()]
        return images if images.ndim == 4 else [images]
    return images if isinstance(images, list | tuple) else [images]  # type: ignore[list-item]


def find_images(patterns: Sequence[str | os.PathLike[str]]) -> Iterator[str]:
    """Files named by paths, folders (everything below, except hidden files) and globs, as they are found.

    A name that is none of these is passed on: it becomes a prediction with an error.

    Raises:
        UsageError: at once, when a glob matches nothing.
    """
    names = [os.fspath(p) for p in patterns]
    for name in names:
        if _is_glob(name) and next(glob.iglob(name, recursive=True), None) is None:
            raise UsageError(f"{name}: no file matches", hint="quote the pattern and check the folder")
    return _matching(names)


def _matching(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        for match in sorted(glob.iglob(name, recursive=True)) if _is_glob(name) else (name,):
            yield from _below(match) if os.path.isdir(match) else _images_in(match)


def _images_in(file: str) -> Iterator[str]:
    """A file, or each image of an IDX file."""
    if is_idx(file) and os.path.isfile(file):
        yield from (f"{file}#{i}" for i in range(len(read_idx(file))))
    else:
        yield file


def _below(folder: str) -> Iterator[str]:
    for current, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(f for f in files if not f.startswith(".")):
            yield os.path.join(current, name)


def _is_glob(name: str) -> bool:
    return glob.has_magic(name) and not os.path.exists(name)


def _is_path(image: object) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(image, str | os.PathLike)
