"""Open every picture once: content hash, full decode, and the few numbers that the audit needs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import imagehash
import numpy as np
from PIL import Image

from foveal.clock import Clock
from foveal.config import MAX_PIXELS
from foveal.data.decode import DECODING, WHITE, exif_of, finish, open_picture, orientation_of, quiet, read_file
from foveal.data.idx import file_of
from foveal.data.mask_files import look_at_mask
from foveal.data.measured import Measured
from foveal.data.render import LOOK
from foveal.data.scan_idx import NEAR_FROM, by_file, is_small_idx, look_at_many
from foveal.data.spool import Spool
from foveal.errors import UnreadableImage
from foveal.machine import cores
from foveal.values import Entry, ImageRecord, LeftOut

_THUMB = 16
_LAPLACIAN_SIDE = 128


@dataclass(frozen=True)
class Reading:
    """How a reading may go on: its time, what it keeps, and who listens.

    Attributes:
        clock: a budget, of which `share` (0 to 1) may be spent when the reading ends.
        spool: where rendered pictures are kept for the next stage, so that each is decoded once.
        cache: whether measures of the same content are taken from earlier runs, and kept for later ones.
        on_start: called with the number of pictures, once it is known.
        on_each: called with the number of pictures done since the last call.
    """

    clock: Clock = field(default_factory=Clock)
    share: float = 1.0
    spool: Spool | None = None
    cache: bool = False
    on_start: Callable[[int], None] = lambda _: None
    on_each: Callable[[int], None] = lambda _: None


def scan(
    entries: Sequence[Entry], reading: Reading, *, max_pixels: int = MAX_PIXELS
) -> tuple[list[ImageRecord], list[LeftOut]]:
    """Read all pictures, in parallel.

    Pictures are taken in an order shuffled by their path, so that what is read when the time runs
    out is a fair part of the whole; what was not read is left out as `no_time`.

    Args:
        entries: what to read.
        reading: its time, what it keeps, and who listens.
        max_pixels: larger pictures are refused.

    Returns:
        Records and refusals, each in the order of `entries`.
    """
    found: dict[int, ImageRecord | LeftOut] = {}
    if entries and is_small_idx(entries[0]):  # a listing of IDX files holds nothing else
        position = {e.path: i for i, e in enumerate(entries)}
        for members in by_file(entries):
            found |= {position[r.path]: r for r in look_at_many(members)}
            reading.on_each(len(members))
    left = [i for i in range(len(entries)) if i not in found]
    order = sorted(left, key=lambda i: hashlib.md5(os.fsencode(entries[i].path)).digest())

    measured = Measured(_ways(max_pixels, reading.spool)) if reading.cache else None

    def one(i: int) -> tuple[int, ImageRecord | LeftOut]:
        try:
            return i, look_at(entries[i], max_pixels=max_pixels, spool=reading.spool, measured=measured)
        except UnreadableImage as refusal:
            of_mask = f"{refusal.path}: " if refusal.path == entries[i].mask else ""
            return i, LeftOut(entries[i].path, refusal.code, of_mask + refusal.detail, entries[i].label)

    waiting: Iterator[int] = iter(order)
    with quiet(), measured or nullcontext(), ThreadPoolExecutor(cores()) as pool:
        while chunk := list(islice(waiting, 64 * cores())):
            if reading.clock.over(share=reading.share):
                for i in (*chunk, *waiting):
                    e = entries[i]
                    found[i] = LeftOut(
                        e.path, "no_time", "the time budget was used up before it was read", e.label
                    )
                break
            for i, result in pool.map(one, chunk):
                found[i] = result
            reading.on_each(len(chunk))
    results = [found[i] for i in range(len(entries))]
    return (
        [r for r in results if isinstance(r, ImageRecord)],
        [r for r in results if isinstance(r, LeftOut)],
    )


def look_at(
    entry: Entry,
    *,
    max_pixels: int = MAX_PIXELS,
    spool: Spool | None = None,
    measured: Measured | None = None,
) -> ImageRecord:
    """Read and measure one picture; what was measured of the same content before is not measured again.

    Raises:
        UnreadableImage: with its reason code.
    """
    content = read_file(entry.path)
    digest = hashlib.sha256(content).hexdigest()
    known = measured.get(digest) if measured else None
    record = ImageRecord(
        path=entry.path,
        label=entry.label,
        split=entry.split,
        group=entry.group,
        sha256=digest,
        file_time=os.stat(file_of(entry.path)).st_mtime_ns,
        **(known or _measure(content, entry.path, digest, max_pixels, spool)),
    )
    if measured is not None and known is None:
        measured.add(record)
    if entry.mask is None:
        return record
    mask = look_at_mask(entry.mask, (record.width, record.height), max_pixels=max_pixels)
    return replace(record, mask=mask)


def _ways(max_pixels: int, spool: Spool | None) -> list[object]:
    """All that the measures of a picture depend on beside its content."""
    background, short_side = (spool.preprocess.background, spool.short_side) if spool else (WHITE, LOOK)
    return [DECODING, max_pixels, background, short_side]


def _measure(content: bytes, path: str, digest: str, max_pixels: int, spool: Spool | None) -> dict[str, Any]:
    """The fields `measured.FIELDS` of a record; the decoded picture is offered to the spool."""
    opened = open_picture(content, path, max_pixels=max_pixels)
    width, height = opened.size
    camera, taken = exif_of(opened) if opened.format in ("JPEG", "MPO", "TIFF") else (None, None)
    background = spool.preprocess.background if spool else WHITE
    rgb = finish(opened, path, shrink_to=spool.short_side if spool else LOOK, background=background)
    # Only now: a PNG is decoded to find its EXIF, and a second decoding of a broken one raises nothing.
    if orientation_of(opened) > 4:
        width, height = height, width
    if spool is not None:
        spool.offer(digest, rgb)
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
    }


def _shrunk(picture: Image.Image, short_side: int) -> Image.Image:
    """At most `short_side` on the short side, by averaging; never enlarged."""
    factor = min(picture.size) // short_side
    return picture.reduce(factor) if factor > 1 else picture


def _as_int(value: imagehash.ImageHash) -> int:
    return int.from_bytes(np.packbits(value.hash.ravel()).tobytes(), "big")


def _laplacian_variance(grey: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """Variance of the 4-neighbour Laplacian (Pech-Pacheco 2000); 0 for pictures under 3 pixels."""
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
