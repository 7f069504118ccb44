"""Rendered images kept in memory between the audit and the features, so that each is decoded once."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.data.images.render import render, shrink_limit
from foveal.memory_budget import RENDER_CACHE_BYTES, MemoryBudget
from foveal.values import Preprocess


class RenderCache:
    """Rendered images by content hash, up to a limit of memory; those beyond it are decoded again."""

    def __init__(self, preprocess: Preprocess, *, max_bytes: int = RENDER_CACHE_BYTES) -> None:
        self.preprocess = preprocess
        self.short_side = shrink_limit(preprocess)
        self._room = max_bytes
        self._kept: dict[str, NDArray[np.uint8]] = {}
        self._promised: set[str] = set()
        self._lock = threading.Lock()

    @classmethod
    def within(cls, preprocess: Preprocess, memory: MemoryBudget) -> RenderCache:
        """One that takes a small share of a memory budget; none with `fit`, where images differ in size."""
        if preprocess.resize == "fit":
            return cls(preprocess, max_bytes=0)
        return cls(preprocess, max_bytes=memory.render_cache)

    def put(self, sha256: str, rgb: Image.Image) -> None:
        """Keep a decoded image, if there is room."""
        needed = self.preprocess.channels * self.preprocess.size**2
        with self._lock:
            if sha256 in self._promised or needed > self._room:
                return
            self._promised.add(sha256)
            self._room -= needed
        self._kept[sha256] = render(rgb, self.preprocess)

    def forget(self) -> None:
        """Drop everything: images that are needed later are decoded again."""
        for sha256 in list(self._kept):
            self.pop(sha256)

    def peek(self, most: int) -> NDArray[np.uint8]:
        """Some of the images, `(N, size, size, channels)`, which stay; noise when the cache is empty."""
        some = [p for _, p in zip(range(most), self._kept.values(), strict=False)]
        return np.stack(some) if some else noise(self.preprocess, most)

    def pop(self, sha256: str) -> NDArray[np.uint8] | None:
        """Remove and return a rendered image; None when it is not in the cache."""
        pixels = self._kept.pop(sha256, None)
        if pixels is not None:
            with self._lock:
                self._promised.discard(sha256)
                self._room += pixels.nbytes
        return pixels


def noise(preprocess: Preprocess, count: int) -> NDArray[np.uint8]:
    """Inputs of random pixels, `(N, size, size, channels)`, always the same."""
    shape = (count, preprocess.size, preprocess.size, preprocess.channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
