"""Images → features of one view, none of them computed twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foveal.clock import Deadline
from foveal.config import MAX_PIXELS
from foveal.data.images.decode import DECODING
from foveal.data.images.pixels import read_rendered
from foveal.data.images.render_cache import RenderCache
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
        computed: how many were not in the cache and had to be computed.
        changed: paths whose content is no longer what the audit read; they have no row.
    """

    rows: dict[str, NDArray[np.float32]]
    computed: int = 0
    changed: list[str] = field(default_factory=list)

    def take(
        self, batch: Sequence[tuple[ImageRecord, NDArray[np.float32] | UnreadableImage]], cache: FeatureCache
    ) -> None:
        """Add rows `(1, dimension)` that were just computed, to the cache as well."""
        for record, result in batch:
            if isinstance(result, UnreadableImage):
                self.changed.append(record.path)
            else:
                self.rows[record.sha256] = result[0]
                cache.add(record.sha256, result[0])
                self.computed += 1

    def of(self, records: Sequence[ImageRecord]) -> Features:
        """The vectors of these records, `(N, dimension)`.

        Raises:
            KeyError: for a record without a row.
        """
        return np.stack([self.rows[r.sha256] for r in records])


@dataclass(frozen=True)
class Extractor:
    """How features are computed; `run` computes them.

    Attributes:
        backbone, preprocess, engine: the frozen network, its input, and what computes it.
        render_cache: rendered images of the audit, where there are any.
        max_pixels: images with more pixels are refused.
        cache: whether features are kept on disk.
        stages: whether the engine appends the pooled features of all stages to the last ones.
    """

    backbone: Backbone
    preprocess: Preprocess
    engine: Engine
    render_cache: RenderCache | None = None
    max_pixels: int = MAX_PIXELS
    cache: bool = True
    stages: bool = False

    def run(
        self,
        records: Sequence[ImageRecord],
        *,
        view: str = "plain",
        deadline: Deadline,
        on_each: Callable[[int], None] = lambda _: None,
    ) -> FeatureTable:
        """The features of all records, in order, until the deadline.

        Args:
            records: the images; equal content is computed once.
            view: one of `render.VIEWS`.
            deadline: no further batch is computed once it has passed.
            on_each: called with the number of images done since the last call.
        """
        stages = self.backbone.stage_dimension if self.stages else 0
        space = [
            DECODING,
            self.backbone.name,
            self.backbone.weights_sha256,
            self.preprocess.to_dict(),
            key_of(self.engine),
            view,
            stages,
        ]
        cache = FeatureCache(space, enabled=self.cache)
        first = {r.sha256: r for r in reversed(records)}
        wanted = [r for r in records if first[r.sha256] is r]
        table = FeatureTable(cache.load([r.sha256 for r in wanted], self.backbone.dimension + stages))
        on_each(len(records) - len(wanted) + len(table.rows))
        todo = [r for r in wanted if r.sha256 not in table.rows]
        try:
            with closing(batches(todo, self.read, self.engine, (view,))) as computed:
                for batch in computed:
                    table.take(batch, cache)
                    on_each(len(batch))
                    if deadline.passed:
                        break
        finally:
            cache.flush()
        return table

    def read(self, record: ImageRecord) -> Pixels:
        """One rendered image; see `read_rendered`."""
        return read_rendered(record, self.preprocess, self.render_cache, max_pixels=self.max_pixels)
