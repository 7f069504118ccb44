"""Frames of a video, recognised by their names and their similarity: neighbours stay in one subset.

`0001TP_006690.png` is frame 6690 of sequence `0001TP_`. Numbers alone prove nothing, since every camera numbers
its images: images count as frames when neighbours by number are much more similar than other pairs.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from foveal.values import ImageRecord

#: Frames in a block at most: longer runs are cut, or one drive through a town would be in a single subset.
BLOCK = 30
#: A step of more than so many times the median step starts a new run.
GAP = 5
#: Neighbours are frames when their distance is below this share of that of other pairs (medians).
SIMILAR = 0.8
#: Where a run was cut, this many frames on either side of the cut are too similar to be in different subsets.
NEAR = 2
_ENOUGH = 8  # with fewer pairs of neighbours nothing can be told

_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")


def frame_blocks(records: Sequence[ImageRecord]) -> list[list[int]]:
    """Blocks of neighbouring frames, as indices by number; none when the images are not frames."""
    return [block for run in _runs(records) for block in _cut(run)]


def across_cuts(records: Sequence[ImageRecord]) -> list[tuple[int, int]]:
    """Pairs of frames of one run, close to each other but in different blocks."""
    pairs = []
    for run in _runs(records):
        for before, after in pairwise(_cut(run)):
            tail, head = before[-NEAR:], after[:NEAR]
            pairs += [(a, b) for i, a in enumerate(reversed(tail)) for j, b in enumerate(head) if i + j < NEAR]
    return pairs


def _runs(records: Sequence[ImageRecord]) -> list[list[int]]:
    sequences: dict[tuple[str, str, str, str | None], list[tuple[int, int]]] = defaultdict(list)
    for i, record in enumerate(records):
        folder, name = os.path.split(record.path)
        match = _NUMBERED.fullmatch(os.path.splitext(name)[0])
        if match and record.thumb and record.group is None:
            sequences[(folder, match[1], match[3], record.split)].append((int(match[2]), i))
    ordered = [sorted(members) for members in sequences.values() if len(members) > 1]
    if not _are_frames(records, [[i for _, i in members] for members in ordered]):
        return []
    return [run for members in ordered for run in _at_gaps(members)]


def _are_frames(records: Sequence[ImageRecord], sequences: Sequence[Sequence[int]]) -> bool:
    """Whether neighbours by number are more similar than images that are far apart."""
    near = [pair for sequence in sequences for pair in pairwise(sequence)]
    if len(near) < _ENOUGH:
        return False
    everyone = [i for sequence in sequences for i in sequence]
    half = len(everyone) // 2
    far = [(a, b) for a, b in zip(everyone, everyone[half:] + everyone[:half], strict=True) if a != b]
    return bool(np.median(_distance(records, near)) < SIMILAR * np.median(_distance(records, far)))


def _distance(records: Sequence[ImageRecord], pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """The dissimilarity of the thumbs of each pair, sqrt(1 - r²), 0-1."""

    def rows(member: int) -> NDArray[np.float64]:
        values = np.stack([np.frombuffer(records[p[member]].thumb, dtype=np.uint8) for p in pairs]).astype(float)
        values -= values.mean(axis=1, keepdims=True)
        return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9))

    r = np.clip((rows(0) * rows(1)).sum(axis=1), 0, 1)
    return np.asarray(np.sqrt(1 - r**2))


def _at_gaps(members: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Runs without a large step between the numbers."""
    steps = np.diff([number for number, _ in members])
    most = GAP * float(np.median(steps))
    runs = [[members[0][1]]]
    for step, (_, i) in zip(steps.tolist(), members[1:], strict=True):
        if step > most:
            runs.append([])
        runs[-1].append(i)
    return runs


def _cut(run: Sequence[int]) -> list[list[int]]:
    """Blocks of `BLOCK`; a short rest stays with the last."""
    starts = [s for s in range(0, len(run), BLOCK) if s == 0 or len(run) - s >= BLOCK // 2]
    return [list(run[a:b]) for a, b in zip(starts, [*starts[1:], len(run)], strict=True)]
