"""Images as a network's input: one at a time, or a whole subset as one array."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.config import MAX_PIXELS
from foveal.data.images.decode import decode, quiet, read_file
from foveal.data.images.idx import hashes_of, is_idx, read_idx, split_name
from foveal.data.images.render import GEOMETRIES, render_views, shrink_limit, turned
from foveal.data.images.render_cache import RenderCache
from foveal.errors import DataError, UnreadableImage
from foveal.files import cache_dir, cannot_write
from foveal.machine import cores
from foveal.memory_budget import MemoryBudget
from foveal.values import ImageRecord, Preprocess, View

Pixels = NDArray[np.uint8]


def allocate(shape: tuple[int, ...], kind: type[np.generic], max_bytes: int) -> NDArray[Any]:
    """An array of zeros, in memory or, when it takes more than `max_bytes`, on disk."""
    if math.prod(shape) * np.dtype(kind).itemsize <= max_bytes:
        return np.zeros(shape, dtype=kind)
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _on_disk(shape, kind, folder)
    except OSError as error:
        cannot_write(error)
    return _on_disk(shape, kind, None)


def _on_disk(shape: tuple[int, ...], kind: type[np.generic], folder: Path | None) -> NDArray[Any]:
    """An array of zeros in a file without a name; None: where the system keeps temporary files."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, dtype=kind, mode="w+", shape=shape)


def read_views(
    record: ImageRecord,
    preprocess: Preprocess,
    views: Sequence[View],
    render_cache: RenderCache | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> Pixels:
    """Views of one image, `(V, size, size, channels)`, 8 bits, from a single decode.

    It comes from the cache where that is possible, or from its file, which must not have changed since it was first
    read.

    Raises:
        UnreadableImage: with its reason code, which may be `changed`.
    """
    if render_cache is not None and render_cache.preprocess == preprocess and not set(views) & set(GEOMETRIES):
        kept = render_cache.pop(record.sha256)
        if kept is not None:
            return np.stack([turned(kept, view) for view in views])
    content = read_file(record.path)
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise UnreadableImage(record.path, "changed", "the file is no longer what was read before")
    image = decode(
        content,
        record.path,
        shrink_to=shrink_limit(preprocess),
        max_pixels=max_pixels,
        background=preprocess.background,
    )
    return render_views(image, preprocess, views)


def load_pixels(
    records: Sequence[ImageRecord],
    preprocess: Preprocess,
    render_cache: RenderCache | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    memory: MemoryBudget = MemoryBudget(),
    on_each: Callable[[int], None] = lambda _: None,
) -> Pixels:
    """All images in their order, `(N, C, size, size)`, 8 bits, not normalised.

    Raises:
        DataError: naming the images that are gone or no longer what was read before.
    """
    size, channels = preprocess.size, preprocess.channels
    result: Pixels = allocate((len(records), channels, size, size), np.uint8, memory.array)
    gone: list[str] = []
    rest: list[int] = []
    for file, members in _by_file(records).items():
        images = read_idx(file) if file else np.zeros((0, 0, 0), dtype=np.uint8)
        if file and images.shape[1:] == ((size, size) if channels == 1 else (size, size, 3)):
            gone += _take(file, images, records, members, result)
            on_each(len(members))
        else:
            rest += members

    def one(i: int) -> None:
        try:
            plain = read_views(records[i], preprocess, ("plain",), render_cache, max_pixels=max_pixels)
            result[i] = plain[0].transpose(2, 0, 1)
        except UnreadableImage as refusal:
            gone.append(refusal.path)

    with quiet(), ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(one, rest):
            on_each(1)
    refuse_changed(gone)
    return result


def check_unchanged(files: Iterable[tuple[str, str]]) -> None:
    """Read all of these files again.

    Args:
        files: path and SHA-256 of each.

    Raises:
        DataError: naming those that are gone or no longer what was read before.
    """

    def changed(file: tuple[str, str]) -> str | None:
        path, digest = file
        try:
            return None if hashlib.sha256(read_file(path)).hexdigest() == digest else path
        except UnreadableImage:
            return path

    with ThreadPoolExecutor(cores()) as pool:
        refuse_changed([path for path in pool.map(changed, files) if path is not None])


def refuse_changed(changed: Sequence[str]) -> None:
    """Raise when there are any.

    Raises:
        DataError: naming the first of them.
    """
    if changed:
        named = ", ".join(sorted(changed)[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise DataError(
            f"no longer what was first read: {named}", hint="put the files back as they were, or start a new run"
        )


def _by_file(records: Sequence[ImageRecord]) -> dict[str, list[int]]:
    """Positions of the images of each IDX file; those of all others under an empty name."""
    positions: dict[str, list[int]] = {}
    for i, record in enumerate(records):
        positions.setdefault(record.path.rpartition("#")[0], []).append(i)
    plain = [file for file in positions if file and not is_idx(file)]
    rest = sorted(positions.pop("", []) + [i for file in plain for i in positions.pop(file)])
    return positions | ({"": rest} if rest else {})


def _take(
    file: str, images: Pixels, records: Sequence[ImageRecord], members: Sequence[int], result: Pixels
) -> list[str]:
    """Copy one file's images to their places; the paths of those that changed, and then nothing is copied."""
    hashes, numbers = hashes_of(file), [split_name(records[i].path)[1] for i in members]
    changed = [
        records[i].path
        for i, number in zip(members, numbers, strict=True)
        if number >= len(hashes) or hashes[number] != records[i].sha256
    ]
    if not changed:
        values = images[numbers]
        result[members] = values[:, None] if values.ndim == 3 else values.transpose(0, 3, 1, 2)
    return changed
