"""Confidence intervals: how precise a figure from a finite test set is."""

from __future__ import annotations

import math


def wilson(right: float, total: float, confidence: float = 0.95) -> tuple[float, float] | None:
    """Wilson's score interval for a proportion (Wilson 1927); None when the total is 0.

    It is valid at 0 and at 100 % as well. Counts need not be whole numbers, see `with_variance`.
    """
    if total == 0:
        return None
    z = _normal_quantile(confidence)
    share = right / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    low = 0.0 if right == 0 else max(0.0, centre - half)
    high = 1.0 if right == total else min(1.0, centre + half)
    return low, high


def with_variance(
    share: float, typical: float, variance: float, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Wilson's interval for a figure between 0 and 1 that is no plain proportion.

    The effective number of trials is that of a proportion with the same variance, as for complex surveys (Korn and
    Graubard 1998, "Confidence intervals for proportions with small expected number of positive counts").

    Args:
        share: the figure.
        typical: an estimate of it that is neither 0 nor 1.
        variance: of the figure, estimated where it is `typical`; positive.
        confidence: of the interval.
    """
    trials = typical * (1 - typical) / variance
    return wilson(share * trials, trials, confidence)


def _normal_quantile(confidence: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(0.5 + confidence / 2)
