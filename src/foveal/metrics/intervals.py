"""Confidence intervals: how precise a figure from a finite test set is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def wilson(right: int, total: int, confidence: float = 0.95) -> tuple[float, float] | None:
    """Wilson's score interval for a proportion (Wilson 1927); None when the total is 0."""
    if total == 0:
        return None
    z = _normal_quantile(confidence)
    share = right / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    low = 0.0 if right == 0 else max(0.0, centre - half)
    high = 1.0 if right == total else min(1.0, centre + half)
    return low, high


def bootstrap(
    figure: Callable[[NDArray[np.int64]], float], total: int, *, rounds: int = 1000, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile bootstrap, 95 % (Efron 1979).

    Args:
        figure: the figure of the images at these positions.
        total: number of images.
        rounds: resamples.
        seed: of the resampling.
    """
    if total == 0:
        return None
    generator = np.random.default_rng(seed)
    values = [figure(generator.integers(0, total, total)) for _ in range(rounds)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _normal_quantile(confidence: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(0.5 + confidence / 2)
