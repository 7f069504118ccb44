"""A recording played at any batch size: levels of memory, their peak, and what it consists of. No torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foveal.errors import MemoryShort, UsageError
from foveal.planner.convolution import Backend
from foveal.planner.cuda import cuda_peaks
from foveal.planner.record import KINDS, NO_LINE, Op, Recording, Work, affine
from foveal.planner.workspace import need

#: The bound lies this far above what the operators need at most.
MARGIN = 1.01
#: Of all tensors: sums of them, and of what operators need beside them, stay below 2^63.
_MOST_BYTES = 10**18

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Played:
    """One pass at one batch size.

    Attributes:
        peak, most: bytes at the highest point, expected and bound.
        layer: at the peak.
        operator: that ran at the peak.
        breakdown: bytes at the peak by what they hold, with `workspace`.
        levels: after each event, bytes.
        tops: `(position, bytes)` of every operator: what is alive while it runs.
        phases: see `Recording`.
    """

    peak: int
    most: int
    layer: str
    operator: str
    breakdown: dict[str, int]
    levels: Ints
    tops: Ints
    phases: dict[str, int]

    def timeline(self, points: int = 400) -> tuple[tuple[int, int], ...]:
        """`(event, bytes)`: the highest level of each stretch, at most about `points` of them."""
        whole = np.concatenate([np.stack([np.arange(len(self.levels)), self.levels], axis=1), self.tops])
        stretch = max(1, -(-len(self.levels) // points))
        highest: dict[int, int] = {}
        for event, level in whole.tolist():
            at = event // stretch * stretch
            highest[at] = max(level, highest.get(at, 0))
        return tuple(sorted(highest.items()))


class Replay:
    """Two recordings of one pass at different batch sizes, carried on to any batch along a line.

    Args:
        one, two: the recordings; `two` may be None for a pass that is only played at `one`'s batch.
        backend: whose workspaces to count.

    Raises:
        UsageError: when the two ran other operators.
    """

    def __init__(self, one: Recording, two: Recording | None, backend: Backend) -> None:
        if two is not None and not one.same_operators(two):
            raise UsageError("the network runs other operators at another batch size", hint=NO_LINE)
        self._one, self._two, self.backend = one, two, backend
        self._number = np.array([n for n, _ in one.events], dtype=np.int64)
        self._sign = np.array([1 if new else -1 for _, new in one.events], dtype=np.int64)
        self._sizes = np.array([b.size for b in one.blocks], dtype=np.int64)
        self._slope: NDArray[np.float64] = np.zeros(len(self._sizes))
        if two is not None:
            other = np.array([b.size for b in two.blocks], dtype=np.int64)
            self._slope = (other - self._sizes) / (two.batch - one.batch)
        self._kinds = np.array([b.kind for b in one.blocks], dtype=np.int64)
        self._ops = with_results(one)
        self._positions = np.array([op.position for op, _ in self._ops], dtype=np.int64)
        self._owner = np.array([at for at, (_, new) in enumerate(self._ops) for _ in new], dtype=np.int64)
        self._owned = np.array([n for _, new in self._ops for n in new], dtype=np.int64)
        self._alike = _alike(one, two, self._ops)

    @property
    def flops(self) -> int:
        """Of the pass at the first recording's batch."""
        return self._one.flops

    def flops_at(self, batch: int) -> int:
        """Of the pass at another batch size."""
        one, two = self._one, self._two
        return one.flops if two is None else int(affine(one.flops, one.batch, two.flops, two.batch, batch))

    def sizes(self, batch: int) -> Ints:
        """Bytes of every block."""
        exact = np.rint(self._sizes + self._slope * (batch - self._one.batch))
        if exact.sum() > _MOST_BYTES:
            raise MemoryShort(
                f"a batch of {batch:,} such images needs over 10^18 bytes", hint="give fewer or smaller ones"
            )
        sizes: Ints = exact.astype(np.int64)
        return sizes

    def play(self, batch: int) -> Played:
        """The pass at a batch size."""
        sizes = self.sizes(batch)
        start = int(sizes[self._one.start].sum())
        levels = start + np.concatenate([[0], np.cumsum(self._sign * sizes[self._number])])
        inner, most = self._needs(batch, sizes)
        before = levels[self._positions]
        tops = before + inner
        at = int(tops.argmax())
        bound = int(max((before + most).max(), levels.max()) * MARGIN)
        op, results = self._ops[at]
        breakdown = self._breakdown(op.position, results, sizes)
        peak = max(int(tops[at]), int(levels.max()))
        if self.backend.device == "cuda":
            allocated, reserved = cuda_peaks(self._one.start, self._one.events, sizes.tolist())
            peak, bound = max(peak, allocated), int(max(reserved, bound) * MARGIN)
        breakdown["workspace"] = peak - sum(breakdown.values())
        layer = self._one.layers[op.layer] if op.layer >= 0 else ""
        table = np.stack([self._positions, tops], axis=1)
        return Played(peak, bound, layer, op.name, breakdown, levels, table, dict(self._one.phases))

    def _needs(self, batch: int, sizes: Ints) -> tuple[Ints, Ints]:
        inner = np.bincount(self._owner, weights=sizes[self._owned], minlength=len(self._ops)).astype(np.int64)
        most = inner.copy()
        for work, other, places in self._alike:
            if self._two is not None and batch != self._one.batch:
                work = affine(work, self._one.batch, other, self._two.batch, batch)
            found = need(work, int(inner[places[0]]), self.backend)
            inner[places], most[places] = found.peak, found.most
        return inner, most

    def _breakdown(self, position: int, results: Sequence[int], sizes: Ints) -> dict[str, int]:
        alive = np.zeros(len(sizes), dtype=np.int64)
        alive[self._one.start] = 1
        np.add.at(alive, self._number[:position], self._sign[:position])
        alive[list(results)] = 1
        held = np.bincount(self._kinds, weights=(alive * sizes).astype(np.float64), minlength=len(KINDS))
        return {name: int(value) for name, value in zip(KINDS, held, strict=True)}


def _alike(
    one: Recording, two: Recording | None, ops: list[tuple[Op, list[int]]]
) -> list[tuple[Work, Work, list[int]]]:
    """Operators that need the same workspace, computed once: their work at both batch sizes, and their places."""
    found: dict[tuple[Work, Work, int], list[int]] = {}
    for at, (op, results) in enumerate(ops):
        other = two.ops[at].work if two is not None else op.work
        if op.work is not None and other is not None:
            size = sum(one.blocks[i].size for i in results)
            found.setdefault((op.work, other, size), []).append(at)
    return [(work, other, places) for (work, other, _), places in found.items()]


def with_results(one: Recording) -> list[tuple[Op, list[int]]]:
    """Every operator with the numbers of the blocks that it returned new."""
    ends = [op.position for op in one.ops[1:]] + [len(one.events)]
    return [
        (op, [n for n, new in one.events[op.position : _first_free(one, op.position, end)] if new])
        for op, end in zip(one.ops, ends, strict=True)
    ]


def _first_free(one: Recording, start: int, end: int) -> int:
    for at in range(start, end):
        if not one.events[at][1]:
            return at
    return end


@dataclass
class Largest:
    """The largest batch that fits: found by a search over replays."""

    replay: Replay
    budget: int
    limit: int = 1 << 12
    tried: dict[int, int] = field(default_factory=dict)

    def find(self) -> int:
        """Images; 0 when not even one fits."""
        low, high = 0, self.limit
        while self._need(high) <= self.budget:
            low, high = high, 4 * high
        one, hundred = self._need(1), self._need(100)
        guess = 1 + (self.budget - one) * 99 // max(1, hundred - one)  # needs lie nearly on a line
        for tried in (guess, guess + 1, guess - 1, guess + 3, guess - 3):
            if low < tried < high:
                low, high = (tried, high) if self._need(tried) <= self.budget else (low, tried)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._need(middle) <= self.budget else (low, middle)
        return low

    def _need(self, batch: int) -> int:
        if batch not in self.tried:
            try:
                self.tried[batch] = self.replay.play(batch).most
            except MemoryShort:
                self.tried[batch] = sys.maxsize
        return self.tried[batch]
