"""IDX files, the format of MNIST, EMNIST and Fashion-MNIST, plain or gzipped.

A file is a header (two zero bytes, a type, the number of dimensions, the dimensions as big-endian
32-bit integers) and then the values; see LeCun, Cortes and Burges, "The MNIST database". Only bytes
(type 8) are read: one dimension of labels, three of grey images `(N, H, W)`, four of colour `(N, H, W, 3)`.

Image number 7 of a file has the path `FILE#7` throughout foveal.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from foveal.errors import DataError
from foveal.values import Subset

_BYTES = 8
_NAME = re.compile(r"idx(\d)", re.IGNORECASE)
_SUBSETS: tuple[tuple[str, Subset], ...] = (("train", "train"), ("t10k", "test"), ("test", "test"), ("val", "val"))


@dataclass(frozen=True)
class IdxPair:
    """A file of images, the file of their labels, and the subset that its name gives, if any."""

    images: str
    labels: str
    subset: Subset | None


def find_pairs(folder: str) -> list[IdxPair]:
    """The IDX files of a folder, images with their labels; empty when there are none.

    Raises:
        DataError: when a file of images has no labels.
    """
    try:
        names = sorted(e.name for e in os.scandir(folder) if _dimensions(e.name) in ("3", "4") and e.is_file())
    except OSError:
        return []
    return [pair_of(os.path.join(folder, name)) for name in names]


def pair_of(images: str) -> IdxPair:
    """A file of images with the file of labels that belongs to it by its name.

    Raises:
        DataError: when that file is not there.
    """
    folder, name = os.path.split(images)
    twin = re.sub("images", "labels", _NAME.sub(lambda m: m.group(0)[:-1] + "1", name), flags=re.IGNORECASE)
    bare = twin.removesuffix(".gz")
    for candidate in (twin, bare, bare + ".gz"):
        labels = os.path.join(folder, candidate)
        if candidate != name and os.path.isfile(labels):
            subset = next((s for word, s in _SUBSETS if word in name.lower()), None)
            return IdxPair(images, labels, subset)
    raise DataError(f"{images}: no file of labels for it", hint=f"expected a file named {twin}")


def is_idx(path: str) -> bool:
    """Whether a file's name says that it holds images in this form."""
    return _dimensions(os.path.basename(path)) in ("3", "4")


def read_pair(pair: IdxPair) -> tuple[NDArray[np.uint8], list[str]]:
    """Images `(N, H, W)` or `(N, H, W, 3)` and their labels.

    Raises:
        DataError: when a file is damaged, of another kind, or the numbers differ.
    """
    images, labels = read_idx(pair.images), read_idx(pair.labels)
    if images.ndim < 3:
        raise DataError(f"{pair.images}: {_what(images)}, not images", hint="were the names of two files swapped?")
    if labels.ndim != 1:
        raise DataError(f"{pair.labels}: {_what(labels)}, not labels", hint="were the names of two files swapped?")
    if images.ndim == 4 and images.shape[3] != 3:
        raise DataError(f"{pair.images}: images of {images.shape[3]} channels", hint="1 or 3 can be read")
    if len(images) != len(labels):
        raise DataError(
            f"{pair.images} has {len(images)} images, {pair.labels} has {len(labels)} labels",
            hint="do the two files belong together?",
        )
    return images, [str(v) for v in labels.tolist()]


def read_idx(path: str) -> NDArray[np.uint8]:
    """The values of one file, read once and kept while they are in use.

    Raises:
        DataError: when it is not an IDX file of bytes, or too short or too long.
    """
    return _read(path, *_version(path))


def hashes_of(path: str) -> tuple[str, ...]:
    """SHA-256 of the content of each image of one file, see `member`; computed once while the file stays the same.

    Raises:
        DataError: as `read_idx`.
    """
    return _hashes(path, *_version(path))


def member(path: str) -> bytes | None:
    """The content of `FILE#N` as a PGM or PPM file; None when the path names no image of an IDX file.

    Raises:
        DataError: as `read_idx`.
    """
    file, _, number = path.rpartition("#")
    if not (file and number.isascii() and number.isdigit() and is_idx(file) and os.path.isfile(file)):
        return None
    images = read_idx(file)
    if images.ndim < 3 or int(number) >= len(images):
        return None
    content: bytes = header_of(images) + images[int(number)].tobytes()
    return content


def header_of(images: NDArray[np.uint8]) -> bytes:
    """The header of one of these images as a PGM or PPM file."""
    height, width = images.shape[1:3]
    return b"%s\n%d %d\n255\n" % (b"P6" if images.ndim == 4 else b"P5", width, height)


def file_of(path: str) -> str:
    """The file that holds an image: `FILE` of `FILE#7`, or the path itself."""
    file = path.rpartition("#")[0]
    return file if file and is_idx(file) and not os.path.exists(path) else path


def split_name(path: str) -> tuple[str, int]:
    """`FILE#N` as file and number."""
    file, _, number = path.rpartition("#")
    return file, int(number)


def _version(path: str) -> tuple[int, int]:
    """Time and size of a file, which tell whether it is still the one that was read."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint="can you read this file?") from None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4)
def _hashes(path: str, changed: int, size: int) -> tuple[str, ...]:
    images = _read(path, changed, size)
    prefix = header_of(images)
    return tuple(hashlib.sha256(prefix + image.tobytes()).hexdigest() for image in images)


@lru_cache(maxsize=4)
def _read(path: str, _changed: int, _size: int) -> NDArray[np.uint8]:
    try:
        with open(path, "rb") as handle:
            zipped = handle.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb") as handle:
            content = handle.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: {error}", hint="the file is truncated or damaged: fetch it again") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _BYTES or content[3] not in (1, 3, 4):
        raise DataError(
            f"{path}: starts with {content[:4].hex(' ') or 'nothing'}, unlike an IDX file of bytes",
            hint="00 00 08 and then 01 (labels), 03 or 04 (images) are expected",
        )
    ndim = content[3]
    if len(content) < 4 + 4 * ndim:
        raise DataError(f"{path}: ends inside its header", hint="the file is truncated: fetch it again")
    shape = struct.unpack(f">{ndim}I", content[4 : 4 + 4 * ndim])
    expected, actual = 4 + 4 * ndim + int(np.prod(shape, dtype=object)), len(content)
    if actual != expected or 0 in shape[1:]:
        raise DataError(
            f"{path}: its header promises {' × '.join(map(str, shape))} values, {expected} bytes; it has {actual}",
            hint="the file is truncated or damaged: fetch it again",
        )
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * ndim).reshape(shape)


def _dimensions(name: str) -> str | None:
    """The digit of `idx1`, `idx3` in a file's name, if it is one of IDX."""
    match = _NAME.search(name)
    return match.group(1) if match else None


def _what(values: NDArray[np.uint8]) -> str:
    return "labels" if values.ndim == 1 else f"an array of {values.ndim} dimensions"
