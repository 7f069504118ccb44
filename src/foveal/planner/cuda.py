"""A model of torch's caching allocator for CUDA (`c10/cuda/CUDACachingAllocator.cpp`). Not validated on hardware.

Requests are rounded up to 512 bytes. Small ones (to 1 MiB) are cut from segments of 2 MiB, middle ones (below 10
MiB) from segments of 20 MiB; larger ones get segments of their own size, rounded up to 2 MiB. The best fitting
free block is taken and split; neighbours that are free are merged. What is reserved is what a GPU must have.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

_MIB = 2**20
_ROUND, _LARGE_ROUND = 512, 2 * _MIB
_SMALL, _SMALL_SEGMENT = _MIB, 2 * _MIB
_MIDDLE, _MIDDLE_SEGMENT = 10 * _MIB, 20 * _MIB


@dataclass(eq=False)
class _Block:
    """A piece of a segment, and its neighbours."""

    size: int
    small: bool
    before: _Block | None = None
    after: _Block | None = None


@dataclass
class CachingAllocator:
    """Allocations and frees, as the caching allocator serves them.

    Attributes:
        allocated, reserved: bytes in use, rounded, and bytes held of the GPU.
        peak_allocated, peak_reserved: their highest.
        free: blocks that were given back.
    """

    allocated: int = 0
    reserved: int = 0
    peak_allocated: int = 0
    peak_reserved: int = 0
    free: list[_Block] = field(default_factory=list)

    def take(self, size: int) -> _Block | None:
        """A block for so many bytes; None for none."""
        if size <= 0:
            return None
        rounded = -(-size // _ROUND) * _ROUND
        small = rounded <= _SMALL
        fitting = [b for b in self.free if b.small is small and b.size >= rounded]
        block = min(fitting, key=lambda b: b.size, default=None)
        if block is None:
            block = _Block(_segment(rounded), small)
            self.reserved += block.size
            self.peak_reserved = max(self.peak_reserved, self.reserved)
        else:
            self.free.remove(block)
        self._split(block, rounded)
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block

    def give(self, block: _Block | None) -> None:
        """Back; merged with free neighbours."""
        if block is None:
            return
        self.allocated -= block.size
        for neighbour, first in ((block.before, True), (block.after, False)):
            if neighbour is not None and neighbour in self.free:
                self.free.remove(neighbour)
                block.size += neighbour.size
                self._join(block, neighbour, first)
        self.free.append(block)

    def _split(self, block: _Block, wanted: int) -> None:
        rest = block.size - wanted
        if rest < _ROUND if block.small else rest <= _SMALL:
            return
        block.size = wanted
        other = _Block(rest, block.small, block, block.after)
        if block.after is not None:
            block.after.before = other
        block.after = other
        self.free.append(other)

    @staticmethod
    def _join(block: _Block, neighbour: _Block, first: bool) -> None:
        if first:
            block.before = neighbour.before
            if block.before is not None:
                block.before.after = block
        else:
            block.after = neighbour.after
            if block.after is not None:
                block.after.before = block


def _segment(size: int) -> int:
    if size <= _SMALL:
        return _SMALL_SEGMENT
    if size < _MIDDLE:
        return _MIDDLE_SEGMENT
    return -(-size // _LARGE_ROUND) * _LARGE_ROUND


def cuda_peaks(start: Iterable[int], events: Iterable[tuple[int, bool]], sizes: list[int]) -> tuple[int, int]:
    """Peaks of what is allocated, and reserved, over one pass.

    Args:
        start: numbers of the blocks that are alive before.
        events: block number, and True for an allocation; in order.
        sizes: bytes by block number.
    """
    allocator = CachingAllocator()
    held = {number: allocator.take(sizes[number]) for number in start}
    for number, new in events:
        if new:
            held[number] = allocator.take(sizes[number])
        else:
            allocator.give(held.pop(number, None))
    return allocator.peak_allocated, allocator.peak_reserved
