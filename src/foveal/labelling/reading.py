"""Images are read while a person labels: a small sample first, so that the first group is there within seconds."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from foveal.clock import Clock, Deadline
from foveal.config import MAX_PIXELS
from foveal.data.audit.scan import ScanOptions, scan
from foveal.data.images.render_cache import RenderCache
from foveal.data.sources.listing import Listing
from foveal.decisions import Decisions
from foveal.labelling.session import Session
from foveal.prefetch import prefetch
from foveal.values import Entry, Excluded

#: Images of the first part. Each further part is so many times as large as all before it, up to a limit: groups are
#: formed anew then.
FIRST_PART, _GROWTH, _LARGEST_PART = 192, 4, 4096

_log = logging.getLogger("foveal.labelling")


@dataclass
class Reading:
    """Reads all images of a listing into a session, in a thread.

    Attributes:
        listing: what to read.
        session: is given what was read.
        max_pixels: larger images are left out.
        done: files that were read by now, or refused.
        refused: those that can't be read, and why.
        failure: what ended it early.
    """

    listing: Listing
    session: Session
    max_pixels: int = MAX_PIXELS
    done: int = 0
    refused: list[Excluded] = field(default_factory=list)
    failure: BaseException | None = None
    _clock: Clock = field(default_factory=Clock)
    _thread: threading.Thread | None = None

    @property
    def total(self) -> int:
        """Files to read."""
        return len(self.listing.entries)

    @property
    def is_done(self) -> bool:
        """Whether all images are there."""
        return self._thread is not None and not self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        prefetch("sklearn.cluster", "sklearn.decomposition")
        self._thread = threading.Thread(target=self._run, name="reading", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way, and wait for it."""
        self._clock.stopped = True
        self.join()

    def join(self) -> None:
        """Wait for the end."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as error:
            self.failure = error
            _log.exception("images can't be read")

    def _read(self) -> None:
        from foveal.engines import choose_engine
        from foveal.features import Extractor
        from foveal.models.backbones import find_backbone

        backbone = find_backbone()
        preprocess = backbone.preprocess
        render_cache = RenderCache(preprocess)
        extractor: Extractor | None = None
        for part in parts(self.listing.entries):
            options = ScanOptions(
                clock=self._clock,
                render_cache=render_cache,
                cache=True,
                on_each=self._advance,
                max_pixels=self.max_pixels,
            )
            records, refused = scan(part, self.listing.target, options)
            if self._is_stopped():
                return
            self.refused += refused
            if extractor is None:
                engine = choose_engine(backbone, preprocess, lambda: render_cache.peek(32), Decisions())
                extractor = Extractor(backbone, preprocess, engine, render_cache, self.max_pixels)
            table = extractor.run(records, deadline=Deadline(self._clock))
            if self._is_stopped():
                return
            there = [record for record in records if record.sha256 in table.rows]
            if there:
                self.session.add(there, table.of(there))
            self.refused += [
                Excluded(record.path, "changed", "it changed while it was read")
                for record in records
                if record.sha256 not in table.rows
            ]

    def _is_stopped(self) -> bool:
        return self._clock.stopped

    def _advance(self, count: int) -> None:
        self.done += count


def parts(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """The images in parts, each a fair sample: shuffled by their path, so that the order is the same each time."""
    order = sorted(entries, key=lambda entry: hashlib.md5(os.fsencode(entry.path)).digest())
    start = 0
    while start < len(order):
        size = min(_LARGEST_PART, max(FIRST_PART, start * _GROWTH))
        yield order[start : start + size]
        start += size
