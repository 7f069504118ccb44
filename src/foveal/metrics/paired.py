"""Is one classifier better than another? Paired figures for the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Two-sided 95 %, and 80 % power.
_Z, _Z_POWER = 1.959964, 0.841621


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of B minus that of A.

    Attributes:
        n: images.
        clusters: of images that belong together, such as near-duplicates.
        only_a, only_b: images that only A, or only B, predicts right.
        value: the difference, -1 to 1.
        ci95: its interval.
        p_value: of McNemar's exact test; it takes every image for independent.
        design_effect: how much larger the variance is because images of a cluster are alike; at least 1.
    """

    n: int
    clusters: int
    only_a: int
    only_b: int
    value: float
    ci95: tuple[float, float]
    p_value: float
    design_effect: float

    @property
    def shown(self) -> bool:
        """Whether the interval excludes 0."""
        return not self.ci95[0] <= 0 <= self.ci95[1]

    def images_for(self, difference: float) -> int:
        """How many images, these included, would show a difference of this size in four of five comparisons.

        The share of images on which the models disagree is taken to stay as it is (Connor 1987, "Sample size for
        testing differences in proportions for the paired-sample design").
        """
        disagreement = (self.only_a + self.only_b + 1) / (self.n + 2)
        root = _Z * math.sqrt(disagreement) + _Z_POWER * math.sqrt(max(0.0, disagreement - difference**2))
        return math.ceil(self.design_effect * (root / difference) ** 2)


def paired_difference(
    a: NDArray[np.bool_], b: NDArray[np.bool_], clusters: Sequence[str] | None = None
) -> PairedDifference:
    """B compared with A.

    The interval is that of Agresti and Min 2005, "Simple improved confidence intervals for comparing matched
    proportions", which is valid where few images or none are predicted differently; its variance is multiplied by the
    design effect.

    Args:
        a, b: whether each of the N images is predicted right, `(N,)`.
        clusters: what each image belongs to; None: each stands alone.

    Raises:
        ValueError: without images.
    """
    from scipy.stats import binomtest

    n = len(a)
    if n == 0:
        raise ValueError("no images")
    names = list(range(n)) if clusters is None else list(clusters)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    effect, count = design_effect(b.astype(float) - a.astype(float), names)
    centre = (only_b - only_a) / (n + 2)
    variance = ((only_a + only_b + 1) / (n + 2) - centre**2) / (n + 2)
    half = _Z * math.sqrt(variance * effect)
    value = (only_b - only_a) / n
    return PairedDifference(
        n=n,
        clusters=count,
        only_a=only_a,
        only_b=only_b,
        value=value,
        ci95=(max(-1.0, min(value, centre - half)), min(1.0, max(value, centre + half))),
        p_value=float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
        design_effect=effect,
    )


def design_effect(differences: NDArray[np.float64], clusters: Sequence[object]) -> tuple[float, int]:
    """Variance of the mean with clusters, divided by that without; and how many clusters there are."""
    index = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    residuals = differences - differences.mean()
    sums = np.bincount([index[name] for name in clusters], weights=residuals, minlength=len(index))
    alone = float((residuals**2).sum())
    return (max(1.0, float((sums**2).sum()) / alone) if alone > 0 else 1.0), len(index)


def mean_difference(values: NDArray[np.float64], clusters: Sequence[str]) -> tuple[float, tuple[float, float]]:
    """The mean of paired differences `(N,)` and its 95 % interval, by the variance between clusters."""
    value = float(values.mean())
    if len(values) < 2:
        return value, (-math.inf, math.inf)
    effect, _ = design_effect(values, clusters)
    half = _Z * float(values.std(ddof=1)) / math.sqrt(len(values)) * math.sqrt(effect)
    return value, (value - half, value + half)
