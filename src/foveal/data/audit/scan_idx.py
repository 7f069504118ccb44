"""Small images out of an IDX file, measured as one array: the same records as `scan.read_record`, much faster."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from foveal.data.images.idx import header_of, is_idx, read_idx, split_name
from foveal.values import Entry, ImageRecord

#: Images with a shorter short side, pixels, are not searched for near-duplicates: they show too little to tell the
#: digits of one writer apart, for example. Exact copies are found at any size.
NEAR_FROM = 32

_AT_ONCE = 4096


def is_small_idx(entry: Entry) -> bool:
    """Whether this module can measure an entry: an image of an IDX file, too small for near-duplicates."""
    if "#" not in entry.path or not is_idx(entry.path.rpartition("#")[0]) or os.path.exists(entry.path):
        return False
    return bool(min(read_idx(split_name(entry.path)[0]).shape[1:3]) < NEAR_FROM)


def read_idx_records(entries: Sequence[Entry]) -> list[ImageRecord]:
    """Records of images that all come from one file, in their order.

    Raises:
        DataError: when the file is damaged.
    """
    file = split_name(entries[0].path)[0]
    images = read_idx(file)
    prefix, changed = header_of(images), os.stat(file).st_mtime_ns
    height, width = images.shape[1:3]
    records = []
    for start in range(0, len(entries), _AT_ONCE):
        some = entries[start : start + _AT_ONCE]
        pixels = images[[split_name(e.path)[1] for e in some]]
        mean, deviation, sharpness = _levels(pixels)
        records += [
            ImageRecord(
                path=entry.path,
                label=entry.label,
                split=entry.split,
                group=entry.group,
                sha256=hashlib.sha256(prefix + pixels[i].tobytes()).hexdigest(),
                width=width,
                height=height,
                file_time=changed,
                phash=0,
                thumb=b"",
                brightness=float(mean[i]),
                contrast=float(deviation[i]),
                sharpness=float(sharpness[i]),
            )
            for i, entry in enumerate(some)
        ]
    return records


def by_file(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Entries of the same file together."""
    files: dict[str, list[Entry]] = {}
    for entry in entries:
        files.setdefault(split_name(entry.path)[0], []).append(entry)
    return list(files.values())


def _levels(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Mean, standard deviation and variance of the Laplacian of each image's grey levels."""
    if pixels.ndim == 4:  # as Pillow's "L": ITU-R 601-2
        grey = np.rint(pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32))
    else:
        grey = pixels.astype(np.float32)
    mean, deviation = grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))
    if min(grey.shape[1:]) < 3:
        return mean, deviation, np.zeros(len(grey), dtype=np.float32)
    inner = grey[:, 1:-1, 1:-1] * -4
    inner += grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return mean, deviation, inner.var(axis=(1, 2))
