"""Images → features of one view, none of them computed twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foveal.clock import Deadline
from foveal.config import MAX_PIXELS
from foveal.data.images.decode import DECODING
from foveal.data.images.pixels import read_views
from foveal.data.images.render import without_geometry
from foveal.data.images.render_cache import RenderCache, noise
from foveal.engines import Engine
from foveal.engines.base import Features, Pixels, key_of
from foveal.errors import UnreadableImage
from foveal.features.cache import FeatureCache
from foveal.features.pipeline import batches
from foveal.values import Backbone, ImageRecord, Preprocess, View


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
        self,
        batch: Sequence[tuple[ImageRecord, NDArray[np.float32] | UnreadableImage]],
        cache: FeatureCache,
        view: int = 0,
    ) -> None:
        """Add rows `(views, dimension)` that were just computed, of one of the views; to the cache as well."""
        for record, result in batch:
            if isinstance(result, UnreadableImage):
                self.changed.append(record.path)
            else:
                self.rows[record.sha256] = result[view]
                cache.add(record.sha256, result[view])
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
        view: View = "plain",
        deadline: Deadline,
        on_each: Callable[[int], None] = lambda _: None,
    ) -> FeatureTable:
        """The features of one view of all records; see `run_views`."""
        return self.run_views(records, (view,), deadline=deadline, on_each=on_each)[0]

    def run_views(
        self,
        records: Sequence[ImageRecord],
        views: Sequence[View],
        *,
        deadline: Deadline,
        on_each: Callable[[int], None] = lambda _: None,
    ) -> list[FeatureTable]:
        """The features of all records, in order, until the deadline; each image is decoded once for all views.

        Args:
            records: the images; equal content is computed once.
            views: what is made of each image.
            deadline: no further batch is computed once it has passed.
            on_each: called with the number of images done since the last call.
        """
        first = {r.sha256: r for r in reversed(records)}
        wanted = [r for r in records if first[r.sha256] is r]
        names = [r.sha256 for r in wanted]
        caches = [FeatureCache(self._space(view), enabled=self.cache) for view in views]
        tables = [FeatureTable(cache.load(names, self.dimension)) for cache in caches]
        todo = [r for r in wanted if any(r.sha256 not in table.rows for table in tables)]
        missing = [i for i, table in enumerate(tables) if any(r.sha256 not in table.rows for r in todo)]
        new = [views[i] for i in missing]
        on_each(len(records) - len(todo))
        try:
            with closing(batches(todo, lambda record: self.read(record, new), self.engine)) as computed:
                for batch in computed:
                    for number, i in enumerate(missing):
                        tables[i].take(batch, caches[i], number)
                    on_each(len(batch))
                    if deadline.passed:
                        break
        finally:
            for cache in caches:
                cache.flush()
        return tables

    def seconds(self, count: int) -> float:
        """That the features of so many images take at the speed of one batch, without reading the images."""
        batch = noise(self.preprocess, self.engine.batch_size)
        self.engine(batch)  # compiles
        began = time.perf_counter()
        self.engine(batch)
        return (time.perf_counter() - began) / len(batch) * count

    @property
    def dimension(self) -> int:
        """Of a feature vector."""
        return self.backbone.dimension + (self.backbone.stage_dimension if self.stages else 0)

    def read(self, record: ImageRecord, views: Sequence[View] = ("plain",)) -> Pixels:
        """Rendered views of one image; see `read_views`."""
        return read_views(record, self.preprocess, views, self.render_cache, max_pixels=self.max_pixels)

    def _space(self, view: View) -> list[object]:
        """What features depend on besides the image."""
        preprocess, view = without_geometry(self.preprocess, view)
        return [
            DECODING,
            self.backbone.name,
            self.backbone.weights_sha256,
            preprocess.to_dict(),
            key_of(self.engine),
            view,
            self.backbone.stage_dimension if self.stages else 0,
        ]
