"""How large a piece of an image one pass of a network may take, by the memory that it needs."""

from __future__ import annotations

from collections.abc import Callable

from foveal.machine import memory_limit
from foveal.memory_budget import PASS_SHARE


def pass_budget(memory: int | None) -> int | None:
    """Bytes that a pass may take: what was given, or a share of what is left; None where that is not known."""
    if memory is not None:
        return memory
    limit = memory_limit()
    return int(PASS_SHARE * limit) if limit else None


def largest_that_fits(fits: Callable[[int], bool], low: int, high: int, *, within: int = 1) -> int:
    """By bisection a size that fits, less than `within` below one that does not.

    Args:
        fits: whether a size does; larger ones never do where a smaller one does not.
        low: taken to fit without asking.
        high: taken not to fit.
        within: how near to the limit the result has to be.
    """
    while high - low > within:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
