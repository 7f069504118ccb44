"""Open every image once: content hash, full decode, and the few figures that the audit needs."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from PIL import Image

from foveal.clock import Clock
from foveal.config import MAX_PIXELS
from foveal.data.audit.measure import is_stacked, measure
from foveal.data.audit.record_cache import RecordCache
from foveal.data.audit.scan_idx import by_file, is_small_idx, read_idx_records
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
from foveal.data.images.render import AUDIT_SIDE
from foveal.data.images.render_cache import RenderCache
from foveal.data.images.shards import changed_at, reading_order
from foveal.data.targets.target import Target
from foveal.errors import UnreadableImage
from foveal.machine import cores
from foveal.values import NO_TIME, Entry, Excluded, ImageRecord

#: Images that a thread takes at a time, at most. More save little, and are more to wait for when the time is up.
_AT_ONCE = 32
#: Larger files, bytes, are not kept while others are read.
_SMALL_FILE = 1 << 16

_Done = list[tuple[int, ImageRecord | Excluded]]


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
        for places in by_file(entries):
            for i, record in zip(places, read_idx_records([entries[i] for i in places]), strict=True):
                complete = partial(target.complete, record, entries[i], max_pixels=options.max_pixels)
                results[i] = _attempt(entries[i], complete)
            options.on_each(len(places))
    left = [i for i in range(len(entries)) if i not in results]
    order = sorted(left, key=lambda i: reading_order(entries[i].path))

    known = RecordCache(_record_key(options)) if options.cache else None

    def read(some: Sequence[int]) -> _Done:
        done: _Done = []
        for i, result in zip(some, read_records([entries[i] for i in some], options, known), strict=True):
            if isinstance(result, ImageRecord):
                complete = partial(target.complete, result, entries[i], max_pixels=options.max_pixels)
                result = _attempt(entries[i], complete)
            done.append((i, result))
        return done

    with quiet(), known or nullcontext(), ThreadPoolExecutor(cores()) as pool:
        for done in _in_turn(pool, read, order):
            results.update(done)
            options.on_each(sum(getattr(result, "reason", "") != NO_TIME for _, result in done))
    ordered = [results[i] for i in range(len(entries))]
    return (
        [r for r in ordered if isinstance(r, ImageRecord)],
        [r for r in ordered if isinstance(r, Excluded)],
    )


def _in_turn(
    pool: ThreadPoolExecutor, read: Callable[[Sequence[int]], _Done], order: Sequence[int]
) -> Iterator[_Done]:
    """What `read` returns for some of `order` at a time; only a few are under way, or done and not yet taken."""
    under_way: deque[Future[_Done]] = deque()
    # Fewer at a time where there are few, so that all threads have work to the end.
    at_once = max(1, min(_AT_ONCE, len(order) // (8 * cores())))
    try:
        for start in range(0, len(order), at_once):
            under_way.append(pool.submit(read, order[start : start + at_once]))
            if len(under_way) > 2 * cores():
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()


def _attempt(entry: Entry, read: Callable[[], ImageRecord]) -> ImageRecord | Excluded:
    """A record, or the refusal that names the file if it is not the image itself."""
    try:
        return read()
    except UnreadableImage as refusal:
        return _refused(entry, refusal)


def _refused(entry: Entry, refusal: UnreadableImage) -> Excluded:
    other_file = f"{refusal.path}: " if refusal.path != entry.path else ""
    return Excluded(entry.path, refusal.code, other_file + refusal.detail, entry.label)


@dataclass(frozen=True, slots=True)
class _File:
    entry: Entry
    content: bytes
    sha256: str
    time: int


def read_records(
    entries: Sequence[Entry], options: ScanOptions | None = None, known: RecordCache | None = None
) -> list[ImageRecord | Excluded]:
    """Read and measure a few images, in this thread; what was measured of the same content before is not again.

    Returns:
        Of each image its record, or its refusal: `no_time` once the time is up.
    """
    options = options or ScanOptions()
    results: dict[int, ImageRecord | Excluded] = {}
    small: dict[int, _File] = {}
    for i, entry in enumerate(entries):
        if options.clock.over(share=options.share):
            detail = "the time budget was used up before it was read"
            results[i] = Excluded(entry.path, NO_TIME, detail, entry.label)
            continue
        try:
            content = read_file(entry.path)
        except UnreadableImage as refusal:
            results[i] = _refused(entry, refusal)
            continue
        time = changed_at(entry.path)
        file = _File(entry, content, hashlib.sha256(content).hexdigest(), time)
        if len(content) <= _SMALL_FILE:
            small[i] = file
        else:
            results |= _records({i: file}, options, known)
    results |= _records(small, options, known)
    return [results[i] for i in range(len(entries))]


def _records(
    files: Mapping[int, _File], options: ScanOptions, known: RecordCache | None
) -> dict[int, ImageRecord | Excluded]:
    """Records and refusals of files, under the same numbers."""
    results: dict[int, ImageRecord | Excluded] = {}
    figures = known.get([file.sha256 for file in files.values()]) if known else {}
    new = {i for i, file in files.items() if file.sha256 not in figures}
    stacks: dict[tuple[int, int], list[tuple[str, dict[str, Any], Image.Image]]] = defaultdict(list)
    for i in sorted(new):
        try:
            fields, rgb = _decoded(files[i], options)
        except UnreadableImage as refusal:
            results[i] = _refused(files[i].entry, refusal)
            continue
        if is_stacked(rgb):
            stacks[rgb.size].append((files[i].sha256, fields, rgb))
        else:
            figures[files[i].sha256] = fields | measure([rgb])[0]
    for stack in stacks.values():
        for (sha256, fields, _), measured in zip(stack, measure([rgb for *_, rgb in stack]), strict=True):
            figures[sha256] = fields | measured
    for i, file in files.items():
        if i in results:
            continue
        record = ImageRecord(
            path=file.entry.path,
            label=file.entry.label,
            split=file.entry.split,
            group=file.entry.group,
            sha256=file.sha256,
            file_time=file.time,
            **figures[file.sha256],
        )
        results[i] = record
        if known is not None and i in new:
            known.add(record)
    return results


def _record_key(options: ScanOptions) -> list[object]:
    """All that the measures of an image depend on, except its content."""
    cache = options.render_cache
    background, short_side = (cache.preprocess.background, cache.short_side) if cache else (WHITE, AUDIT_SIDE)
    return [DECODING, options.max_pixels, background, short_side]


def _decoded(file: _File, options: ScanOptions) -> tuple[dict[str, Any], Image.Image]:
    """The fields of a record that Pillow tells, and the decoded image, which is offered to the render cache, too."""
    path, render_cache = file.entry.path, options.render_cache
    opened = open_image(file.content, path, max_pixels=options.max_pixels)
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
        render_cache.put(file.sha256, rgb)
    return {
        "width": width,
        "height": height,
        "camera": camera,
        "taken_at": _seconds(taken),
        "several_frames": has_several_frames(opened),
    }, rgb


def _seconds(taken: str | None) -> float | None:
    """EXIF time as seconds; cameras know no time zone, so UTC is assumed throughout."""
    if taken is None:
        return None
    try:
        return datetime.strptime(taken[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
