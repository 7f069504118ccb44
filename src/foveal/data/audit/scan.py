"""Open every image once: content hash, full decode, and the few figures that the audit needs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

import imagehash
import numpy as np
from PIL import Image

from foveal.clock import Clock
from foveal.config import MAX_PIXELS
from foveal.data.audit.record_cache import RecordCache
from foveal.data.audit.scan_idx import NEAR_FROM, by_file, is_small_idx, read_idx_records
from foveal.data.images.decode import (
    DECODING,
    WHITE,
    exif_of,
    finish,
    has_several_frames,
    open_image,
    orientation_of,
    quiet,
    read_file,
)
from foveal.data.images.idx import file_of
from foveal.data.images.render import AUDIT_SIDE
from foveal.data.images.render_cache import RenderCache
from foveal.data.targets.target import Target
from foveal.errors import UnreadableImage
from foveal.machine import cores
from foveal.values import Entry, Excluded, ImageRecord

_THUMB = 16
_LAPLACIAN_SIDE = 128


@dataclass(frozen=True)
class ScanOptions:
    """Limits, caches and progress of a scan.

    Attributes:
        clock: a budget, of which `share` (0 to 1) may be spent when the scan ends.
        render_cache: where rendered images are kept for the next stage, so that each is decoded once.
        cache: whether records of the same content are taken from earlier runs, and kept for later ones.
        on_start: called with the number of images, once it is known.
        on_each: called with the number of images done since the last call.
        max_pixels: larger images are refused.
    """

    clock: Clock = field(default_factory=Clock)
    share: float = 1.0
    render_cache: RenderCache | None = None
    cache: bool = False
    on_start: Callable[[int], None] = lambda _: None
    on_each: Callable[[int], None] = lambda _: None
    max_pixels: int = MAX_PIXELS


def scan(
    entries: Sequence[Entry], target: Target, options: ScanOptions | None = None
) -> tuple[list[ImageRecord], list[Excluded]]:
    """Read all images, in parallel.

    Images are read in an order shuffled by their path, so that what is read when the time runs out is a fair
    part of the whole; what was not read is excluded as `no_time`.

    Args:
        entries: what to read.
        target: completes the record of each image.
        options: limits, caches and progress.

    Returns:
        Records and refusals, each in the order of `entries`.
    """
    options = options or ScanOptions()
    results: dict[int, ImageRecord | Excluded] = {}
    if entries and is_small_idx(entries[0]):  # a listing of IDX files holds nothing else
        position = {e.path: i for i, e in enumerate(entries)}
        for members in by_file(entries):
            for record in read_idx_records(members):
                i = position[record.path]
                complete = partial(target.complete, record, entries[i], max_pixels=options.max_pixels)
                results[i] = _attempt(entries[i], complete)
            options.on_each(len(members))
    left = [i for i in range(len(entries)) if i not in results]
    order = sorted(left, key=lambda i: hashlib.md5(os.fsencode(entries[i].path)).digest())

    known = RecordCache(_record_key(options)) if options.cache else None

    def read(i: int) -> ImageRecord:
        return target.complete(read_record(entries[i], options, known), entries[i], max_pixels=options.max_pixels)

    def one(i: int) -> tuple[int, ImageRecord | Excluded]:
        return i, _attempt(entries[i], partial(read, i))

    waiting: Iterator[int] = iter(order)
    with quiet(), known or nullcontext(), ThreadPoolExecutor(cores()) as pool:
        while chunk := list(islice(waiting, 64 * cores())):
            if options.clock.over(share=options.share):
                for i in (*chunk, *waiting):
                    e = entries[i]
                    results[i] = Excluded(
                        e.path, "no_time", "the time budget was used up before it was read", e.label
                    )
                break
            for i, result in pool.map(one, chunk):
                results[i] = result
            options.on_each(len(chunk))
    ordered = [results[i] for i in range(len(entries))]
    return (
        [r for r in ordered if isinstance(r, ImageRecord)],
        [r for r in ordered if isinstance(r, Excluded)],
    )


def _attempt(entry: Entry, read: Callable[[], ImageRecord]) -> ImageRecord | Excluded:
    """A record, or the refusal that names the file if it is not the image itself."""
    try:
        return read()
    except UnreadableImage as refusal:
        other_file = f"{refusal.path}: " if refusal.path != entry.path else ""
        return Excluded(entry.path, refusal.code, other_file + refusal.detail, entry.label)


def read_record(entry: Entry, options: ScanOptions | None = None, known: RecordCache | None = None) -> ImageRecord:
    """Read and measure one image; what was measured of the same content before is not measured again.

    Raises:
        UnreadableImage: with its reason code.
    """
    options = options or ScanOptions()
    content = read_file(entry.path)
    digest = hashlib.sha256(content).hexdigest()
    cached = known.get(digest) if known else None
    record = ImageRecord(
        path=entry.path,
        label=entry.label,
        split=entry.split,
        group=entry.group,
        sha256=digest,
        file_time=os.stat(file_of(entry.path)).st_mtime_ns,
        **(cached or _measure(content, entry.path, digest, options.max_pixels, options.render_cache)),
    )
    if known is not None and cached is None:
        known.add(record)
    return record


def _record_key(options: ScanOptions) -> list[object]:
    """All that the measures of an image depend on, except its content."""
    cache = options.render_cache
    background, short_side = (cache.preprocess.background, cache.short_side) if cache else (WHITE, AUDIT_SIDE)
    return [DECODING, options.max_pixels, background, short_side]


def _measure(
    content: bytes, path: str, digest: str, max_pixels: int, render_cache: RenderCache | None
) -> dict[str, Any]:
    """The fields `record_cache.FIELDS` of a record; the decoded image is offered to the render cache."""
    opened = open_image(content, path, max_pixels=max_pixels)
    width, height = opened.size
    camera, taken = exif_of(opened) if opened.format in ("JPEG", "MPO", "TIFF") else (None, None)
    background = render_cache.preprocess.background if render_cache else WHITE
    rgb = finish(
        opened, path, shrink_to=render_cache.short_side if render_cache else AUDIT_SIDE, background=background
    )
    # Only now: a PNG is decoded to find its EXIF, and a second decoding of a broken one raises nothing.
    if orientation_of(opened) > 4:
        width, height = height, width
    if render_cache is not None:
        render_cache.put(digest, rgb)
    grey = rgb.convert("L")
    levels = np.asarray(_shrunk(grey, _LAPLACIAN_SIDE), dtype=np.float32)
    enough = min(width, height) >= NEAR_FROM
    small = _shrunk(rgb, 64)
    return {
        "width": width,
        "height": height,
        "phash": _as_int(imagehash.phash(_shrunk(grey, 64))) if enough else 0,
        "thumb": small.resize((_THUMB, _THUMB), Image.Resampling.BOX).tobytes() if enough else b"",
        "brightness": float(levels.mean()),
        "contrast": float(levels.std()),
        "sharpness": _laplacian_variance(levels),
        "camera": camera,
        "taken_at": _seconds(taken),
        "several_frames": has_several_frames(opened),
    }


def _shrunk(image: Image.Image, short_side: int) -> Image.Image:
    """At most `short_side` on the short side, by averaging; never enlarged."""
    factor = min(image.size) // short_side
    return image.reduce(factor) if factor > 1 else image


def _as_int(value: imagehash.ImageHash) -> int:
    return int.from_bytes(np.packbits(value.hash.ravel()).tobytes(), "big")


def _laplacian_variance(grey: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """Variance of the 4-neighbour Laplacian (Pech-Pacheco 2000); 0 for images under 3 pixels."""
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1] * -4
    inner += grey[:-2, 1:-1]
    inner += grey[2:, 1:-1]
    inner += grey[1:-1, :-2]
    inner += grey[1:-1, 2:]
    return float(inner.var())


def _seconds(taken: str | None) -> float | None:
    """EXIF time as seconds; cameras know no time zone, so UTC is assumed throughout."""
    if taken is None:
        return None
    try:
        return datetime.strptime(taken[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
