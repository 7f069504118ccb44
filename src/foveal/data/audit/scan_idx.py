"""Small images out of an IDX file, measured as one array: the same records as `scan.read_records`, much faster."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from foveal.data.audit.measure import NEAR_FROM, measure_levels
from foveal.data.images.idx import hashes_of, is_idx, read_idx, split_name
from foveal.values import Entry, ImageRecord

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
    hashes, changed = hashes_of(file), os.stat(file).st_mtime_ns
    height, width = images.shape[1:3]
    records = []
    for start in range(0, len(entries), _AT_ONCE):
        some = entries[start : start + _AT_ONCE]
        numbers = [split_name(e.path)[1] for e in some]
        mean, deviation, sharpness = measure_levels(_grey(images[numbers]))
        records += [
            ImageRecord(
                path=entry.path,
                label=entry.label,
                split=entry.split,
                group=entry.group,
                sha256=hashes[numbers[i]],
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


def by_file(entries: Iterable[Entry]) -> list[list[int]]:
    """Places of the entries of each file."""
    files: dict[str, list[int]] = {}
    for i, entry in enumerate(entries):
        files.setdefault(entry.path.rpartition("#")[0], []).append(i)
    return list(files.values())


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The grey levels of images, `(N, H, W)`."""
    if pixels.ndim == 3:
        return pixels
    # As Pillow's "L": ITU-R 601-2.
    return np.rint(pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)).astype(np.uint8)
