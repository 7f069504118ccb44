"""Rendered pictures kept in memory from the audit to the features, so that each is decoded once."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.data.render import render, shrink_limit
from foveal.values import Preprocess

#: Bytes that are kept at most, and as a share of a budget of memory.
_MOST, _SHARE = 512 << 20, 1 / 8


class Spool:
    """Rendered pictures by content hash, up to a limit of memory; those over it are decoded again."""

    def __init__(self, preprocess: Preprocess, *, max_bytes: int = _MOST) -> None:
        self.preprocess = preprocess
        self.short_side = shrink_limit(preprocess)
        self._room = max_bytes
        self._kept: dict[str, NDArray[np.uint8]] = {}
        self._promised: set[str] = set()
        self._lock = threading.Lock()

    @classmethod
    def within(cls, preprocess: Preprocess, memory: int | None) -> Spool:
        """One that takes a small part of a budget of memory, bytes; by `fit` pictures have no one size to keep."""
        if preprocess.resize == "fit":
            return cls(preprocess, max_bytes=0)
        return cls(preprocess, max_bytes=min(_MOST, int(_SHARE * memory)) if memory else _MOST)

    def offer(self, sha256: str, rgb: Image.Image) -> None:
        """Keep a decoded picture, if there is room."""
        needed = self.preprocess.channels * self.preprocess.size**2
        with self._lock:
            if sha256 in self._promised or needed > self._room:
                return
            self._promised.add(sha256)
            self._room -= needed
        self._kept[sha256] = render(rgb, self.preprocess)

    def forget(self) -> None:
        """Let go of all: what is wanted later is decoded again."""
        for sha256 in list(self._kept):
            self.take(sha256)

    def peek(self, most: int) -> NDArray[np.uint8]:
        """Some of what is kept, `(N, size, size, channels)`; noise where nothing is: all was measured before."""
        some = [p for _, p in zip(range(most), self._kept.values(), strict=False)]
        size, channels = self.preprocess.size, self.preprocess.channels
        noise = np.random.default_rng(0)
        return np.stack(some) if some else noise.integers(0, 256, (most, size, size, channels), dtype=np.uint8)

    def take(self, sha256: str) -> NDArray[np.uint8] | None:
        """The rendered picture, which is then forgotten; None when it was not kept."""
        pixels = self._kept.pop(sha256, None)
        if pixels is not None:
            with self._lock:
                self._promised.discard(sha256)
                self._room += pixels.nbytes
        return pixels
