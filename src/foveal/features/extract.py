"""Pictures → features of one view, none of them computed twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foveal.clock import Clock
from foveal.config import MAX_PIXELS
from foveal.data.decode import DECODING
from foveal.data.pixels import read_rendered
from foveal.data.spool import Spool
from foveal.engines import Engine
from foveal.engines.base import Features, Pixels, key_of
from foveal.errors import UnreadableImage
from foveal.features.cache import FeatureCache
from foveal.features.pipeline import batches
from foveal.values import Backbone, ImageRecord, Preprocess


@dataclass
class FeatureTable:
    """Feature vectors of one view, by content hash.

    Attributes:
        rows: SHA-256 → `(dimension,)`.
        computed: how many were computed now, not found in the cache.
        changed: paths whose content is no longer what the audit read.
    """

    rows: dict[str, NDArray[np.float32]]
    computed: int = 0
    changed: list[str] = field(default_factory=list)

    def take(
        self, batch: Sequence[tuple[ImageRecord, NDArray[np.float32] | UnreadableImage]], cache: FeatureCache
    ) -> None:
        """Rows that were just computed, each view's first; they go into the cache, too."""
        for record, found in batch:
            if isinstance(found, UnreadableImage):
                self.changed.append(record.path)
            else:
                self.rows[record.sha256] = found[0]
                cache.add(record.sha256, found[0])
                self.computed += 1

    def of(self, records: Sequence[ImageRecord]) -> Features:
        """The vectors of these records, `(N, dimension)`."""
        return np.stack([self.rows[r.sha256] for r in records])


@dataclass(frozen=True)
class Extractor:
    """Everything about *how* features are computed; `run` then takes the pictures.

    Attributes:
        stages: whether the engine gives every stage behind the features.
    """

    backbone: Backbone
    preprocess: Preprocess
    engine: Engine
    spool: Spool | None = None
    max_pixels: int = MAX_PIXELS
    cache: bool = True
    stages: bool = False

    def run(
        self,
        records: Sequence[ImageRecord],
        *,
        view: str = "plain",
        clock: Clock,
        reserve: float = 0.0,
        on_each: Callable[[int], None] = lambda _: None,
    ) -> FeatureTable:
        """The features of all records, in their order until the time is up.

        Args:
            records: what to look at; equal content is computed once.
            view: one of `render.VIEWS`.
            clock: the budget; `reserve` seconds of it are kept for later stages.
            reserve: seconds.
            on_each: called with the number of pictures done since the last call.
        """
        space = [
            DECODING,
            self.backbone.name,
            self.backbone.weights_sha256,
            self.preprocess.to_dict(),
            key_of(self.engine),
            view,
            self.backbone.stage_dimension if self.stages else 0,
        ]
        cache = FeatureCache(space, enabled=self.cache)
        first = {r.sha256: r for r in reversed(records)}
        wanted = [r for r in records if first[r.sha256] is r]
        table = FeatureTable(cache.load([r.sha256 for r in wanted]))
        on_each(len(records) - len(wanted) + len(table.rows))
        todo = [r for r in wanted if r.sha256 not in table.rows]
        try:
            with closing(batches(todo, self.read, self.engine, (view,))) as made:
                for batch in made:
                    table.take(batch, cache)
                    on_each(len(batch))
                    if clock.left(reserve=reserve) <= 0:
                        break
        finally:
            cache.flush()
        return table

    def read(self, record: ImageRecord) -> Pixels:
        """One rendered picture; see `read_rendered`."""
        return read_rendered(record, self.preprocess, self.spool, max_pixels=self.max_pixels)
