"""The images of a run as arrays, each read once and kept while that takes little memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from foveal.clock import Clock
from foveal.config import MAX_PIXELS
from foveal.data.images.pixels import Pixels, load_pixels
from foveal.data.images.render_cache import RenderCache
from foveal.data.targets.mask_files import Mask
from foveal.data.targets.pairs import load_pairs
from foveal.memory_budget import MemoryBudget
from foveal.progress import Bar, Progress
from foveal.values import LabelMap, Preprocess, SplitRecord


@dataclass
class ImageArrays:
    """Reads images for training and keeps what is likely to be asked for again.

    Attributes:
        clock, progress: of the run.
        render_cache: images that the audit rendered already.
        max_pixels: of an image; larger ones were refused when they were first read.
        memory: of the run.
    """

    clock: Clock
    progress: Progress
    render_cache: RenderCache | None = None
    max_pixels: int = MAX_PIXELS
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    _subsets: dict[tuple[str, Preprocess], Pixels] = field(default_factory=dict, repr=False)
    _rendered: dict[Preprocess, dict[str, Pixels]] = field(default_factory=dict, repr=False)
    _pairs: dict[tuple[Preprocess, tuple[str, ...]], tuple[Pixels, Mask]] = field(default_factory=dict, repr=False)

    def subset(self, name: str, records: Sequence[SplitRecord], preprocess: Preprocess) -> Pixels:
        """All images of a subset, `(N, C, size, size)`; read once.

        Raises:
            DataError: when images changed since they were first read.
        """
        if (name, preprocess) not in self._subsets:
            self._subsets[name, preprocess] = self._read(
                f"images ({name})", records, preprocess, self.render_cache
            )
        return self._subsets[name, preprocess]

    def rendered(self, records: Sequence[SplitRecord], preprocess: Preprocess) -> Pixels:
        """These images, `(N, C, size, size)`; kept for the next time while that takes little memory.

        Raises:
            DataError: when images changed since they were first read.
        """
        name = f"images ({preprocess.size} px)"
        kept = self._rendered.setdefault(preprocess, {})
        new = [p for p in records if p.record.sha256 not in kept]
        held = sum(row.nbytes for rows in self._rendered.values() for row in rows.values())
        if not records or held + len(new) * 3 * preprocess.size**2 > self.memory.kept_images:
            return self._read(name, records, preprocess)
        if new:
            kept.update(zip((p.record.sha256 for p in new), self._read(name, new, preprocess), strict=True))
        return np.stack([kept[p.record.sha256] for p in records])

    def pairs(
        self, records: Sequence[SplitRecord], preprocess: Preprocess, label_map: LabelMap
    ) -> tuple[Pixels, Mask]:
        """These images and their masks in the box of `preprocess`, see `data.targets.pairs.load_pairs`; read once.

        Raises:
            DataError: when files changed since they were first read.
        """
        key = preprocess, tuple(p.record.sha256 for p in records)
        if key not in self._pairs:
            height, width = preprocess.box
            with self._stage(f"images ({width} × {height})", len(records)) as bar:
                self._pairs[key] = load_pairs(
                    [p.record for p in records],
                    preprocess,
                    label_map,
                    max_pixels=self.max_pixels,
                    memory=self.memory,
                    on_each=bar,
                )
        return self._pairs[key]

    def _read(
        self,
        name: str,
        records: Sequence[SplitRecord],
        preprocess: Preprocess,
        render_cache: RenderCache | None = None,
    ) -> Pixels:
        with self._stage(name, len(records)) as bar:
            return load_pixels(
                [p.record for p in records],
                preprocess,
                render_cache,
                max_pixels=self.max_pixels,
                memory=self.memory,
                on_each=bar,
            )

    @contextmanager
    def _stage(self, name: str, total: int) -> Iterator[Bar]:
        with self.clock.lap("features"), self.progress.stage(name, total) as bar:
            yield bar
