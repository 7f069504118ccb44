"""How large a piece of an image one pass of a network may take, by the memory that it needs."""

from __future__ import annotations

from collections.abc import Callable


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
