"""Frames of a video, told by their names and by their likeness: neighbours are near-copies and stay on one side.

`0001TP_006690.png` is frame 6690 of sequence `0001TP_`. Numbers alone prove nothing (every camera numbers its
pictures): pictures are taken for frames when those next to each other by number are much more alike than others.
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

#: Frames in a block at most: longer runs are cut, or one drive through a town would be all on one side.
BLOCK = 30
#: A step of more than this many usual ones begins a new run.
GAP = 5
#: Neighbours are frames when their distance is under this share of that of others (medians).
ALIKE = 0.8
#: Where a run was cut, this many frames on either side are too near to be on different sides.
NEAR = 2
_ENOUGH = 8  # pairs of neighbours under which nothing is claimed

_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")


def frame_blocks(records: Sequence[ImageRecord]) -> list[list[int]]:
    """Blocks of neighbouring frames, as indices in the order of their numbers; none when these are no frames."""
    return [block for run in _runs(records) for block in _cut(run)]


def across_cuts(records: Sequence[ImageRecord]) -> list[tuple[int, int]]:
    """Pairs of frames of one run, near each other but in different blocks."""
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
        found = _NUMBERED.fullmatch(os.path.splitext(name)[0])
        if found and record.thumb and record.group is None:
            sequences[(folder, found[1], found[3], record.split)].append((int(found[2]), i))
    ordered = [sorted(members) for members in sequences.values() if len(members) > 1]
    if not _are_frames(records, [[i for _, i in members] for members in ordered]):
        return []
    return [run for members in ordered for run in _at_gaps(members)]


def _are_frames(records: Sequence[ImageRecord], sequences: Sequence[Sequence[int]]) -> bool:
    """Whether neighbours by number are more alike than pictures that are far apart."""
    near = [pair for sequence in sequences for pair in pairwise(sequence)]
    if len(near) < _ENOUGH:
        return False
    everyone = [i for sequence in sequences for i in sequence]
    half = len(everyone) // 2
    far = [(a, b) for a, b in zip(everyone, everyone[half:] + everyone[:half], strict=True) if a != b]
    return bool(np.median(_distance(records, near)) < ALIKE * np.median(_distance(records, far)))


def _distance(records: Sequence[ImageRecord], pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """What the thumbs of each pair leave unexplained of each other, 0-1."""

    def rows(side: int) -> NDArray[np.float64]:
        values = np.stack([np.frombuffer(records[p[side]].thumb, dtype=np.uint8) for p in pairs]).astype(float)
        values -= values.mean(axis=1, keepdims=True)
        return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9))

    r = np.clip((rows(0) * rows(1)).sum(axis=1), 0, 1)
    return np.asarray(np.sqrt(1 - r**2))


def _at_gaps(members: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Runs without a great step between the numbers."""
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
