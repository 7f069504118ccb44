"""Exact and near-duplicates, which inflate test figures when they are split between training and test.

Exact copies have the same SHA-256. Near-duplicates (saved again, resized, slightly retouched) are looked up by
perceptual hash, in bands, so that only similar images are compared, and confirmed on pixels.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

#: Pairs of 64-bit hashes that differ in at most so many bits are compared; unrelated images differ in about 32.
MAX_BITS = 10
#: Confirmed when the 16 × 16 RGB thumbs leave less than this of each other unexplained, sqrt(1 - r²). Measured:
#: saved again at quality 30: 0.02-0.08; at half the size 0.06-0.18; 8 % brighter 0.02-0.14; edges cut by 2 %
#: 0.16-0.45. Of 6,000 different digits of MNIST, 37 pairs stay under it; at 0.30 it would be 1,144.
MAX_UNEXPLAINED = 0.18
#: Images of less contrast than this (standard deviation, 0-255) are near-duplicates when their mean levels agree.
FLAT = 2.0

_BAND_BITS = 16
_CROWD = 64  # in a band bucket of more hashes, each is compared with so many that follow it in order


class Comparable(Protocol):
    """What copies and near-duplicates are found by; an `ImageRecord`, for example."""

    @property
    def sha256(self) -> str:
        """Of the file's content, hex."""
        ...

    @property
    def phash(self) -> int:
        """64-bit perceptual hash."""
        ...

    @property
    def thumb(self) -> bytes:
        """16 × 16 RGB pixels; empty for very small images."""
        ...


class Joined:
    """Union-find over `n` items."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))
        self._merged: set[int] = set()

    def root(self, i: int) -> int:
        """The representative of `i`'s set."""
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Merge two sets."""
        self._merged.update((i, j))
        a, b = self.root(i), self.root(j)
        self._parent[max(a, b)] = min(a, b)

    def sets(self) -> list[list[int]]:
        """All sets of two or more, each in order."""
        members: dict[int, list[int]] = defaultdict(list)
        for i in sorted(self._merged):
            members[self.root(i)].append(i)
        return [m for m in members.values() if len(m) > 1]


def exact_copies(records: Sequence[Comparable]) -> list[list[int]]:
    """Sets of records with the same content, as indices."""
    often = {sha256 for sha256, count in Counter(r.sha256 for r in records).items() if count > 1}
    by_content: dict[str, list[int]] = defaultdict(list)
    for i, record in enumerate(records):
        if record.sha256 in often:
            by_content[record.sha256].append(i)
    return list(by_content.values())


def near_pairs(records: Sequence[Comparable]) -> list[tuple[int, int]]:
    """Pairs of near-duplicates with different content, confirmed on pixels, as indices `i < j`.

    Images without a thumb, which are very small, are in no pair.
    """
    firsts = list({r.sha256: i for i, r in reversed(list(enumerate(records))) if r.thumb}.values())
    if len(firsts) < 2:
        return []
    index = np.array(sorted(firsts))
    hashes = np.array([records[i].phash for i in index], dtype=np.uint64)
    pairs = _close_hashes(hashes)
    if not len(pairs):
        return []
    thumbs = np.stack([np.frombuffer(records[i].thumb, dtype=np.uint8) for i in index])
    kept = [chunk[_confirmed(thumbs, chunk)] for chunk in np.array_split(pairs, len(pairs) // 20_000 + 1)]
    return [(int(index[i]), int(index[j])) for i, j in np.concatenate(kept)]


def join_all(n: int, groups: Iterable[Sequence[int]]) -> Joined:
    """The sets after every group is merged."""
    joined = Joined(n)
    for group in groups:
        for other in group[1:]:
            joined.join(group[0], other)
    return joined


def _close_hashes(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs `(P, 2)` of positions whose hashes share a 16-bit band and differ in at most `MAX_BITS`, in order."""
    count = len(hashes)
    close = [np.zeros(0, dtype=np.int64)]
    for shift in range(0, 64, _BAND_BITS):
        band = (hashes >> np.uint64(shift)) & np.uint64((1 << _BAND_BITS) - 1)
        # Within a bucket, order by the whole hash, so that similar ones are adjacent.
        order = np.lexsort((hashes, band))
        ends = np.searchsorted(band[order], band[order], side="right")
        first = np.arange(count)
        for step in range(1, _CROWD + 1):
            first = first[first + step < ends[first]]  # those with so many others after them in their bucket
            if not len(first):
                break
            a, b = order[first], order[first + step]
            found = np.bitwise_count(hashes[a] ^ hashes[b]) <= MAX_BITS
            a, b = a[found], b[found]
            close.append(np.minimum(a, b) * count + np.maximum(a, b))
    return np.stack(np.divmod(np.unique(np.concatenate(close)), count), axis=1)


def _confirmed(thumbs: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pairs are near-duplicates on pixels, too."""
    if not len(pairs):
        return np.zeros(0, dtype=bool)
    a, b = thumbs[pairs[:, 0]].astype(np.float32), thumbs[pairs[:, 1]].astype(np.float32)
    level = np.abs(a.mean(axis=1) - b.mean(axis=1))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    flat = np.maximum(a.std(axis=1), b.std(axis=1)) < FLAT
    r = (a * b).sum(axis=1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-9)
    unexplained = np.sqrt(np.clip(1 - np.maximum(r, 0) ** 2, 0, 1))
    alike: NDArray[np.bool_] = np.where(flat, level < FLAT, unexplained < MAX_UNEXPLAINED)
    return alike
