"""How often a model is right at each level of its confidence: the reliability diagram, and an interval of its gap."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.metrics.intervals import wilson

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

#: Bins of equal width of the diagram: fewer than those of the calibration error, so that each holds some images.
BINS = 10
#: Bins of the calibration error (Guo 2017).
ERROR_BINS = 15
_RESAMPLES = 200


def reliability(probabilities: Array, labels: Labels) -> list[dict[str, Any]]:
    """The bins that hold images, from the lowest confidence on (Murphy and Winkler 1977; Guo 2017).

    Args:
        probabilities: `(N, K)`.
        labels: `(N,)`, 0 … K-1.

    Returns:
        For each bin its ends `low` and `high`, the number of images `n`, their mean `confidence`, and their `accuracy`
        with its 95 % interval.
    """
    confidence, right, which = _binned(probabilities, labels, BINS)
    found = []
    for i in np.unique(which).tolist():
        inside = which == i
        n, hits = int(inside.sum()), float(right[inside].sum())
        found.append(
            {
                "low": i / BINS,
                "high": (i + 1) / BINS,
                "n": n,
                "confidence": float(confidence[inside].mean()),
                "accuracy": hits / n,
                "accuracy_ci95": wilson(hits, n),
            }
        )
    return found


def expected_calibration_error(probabilities: Array, labels: Labels) -> float | None:
    """Mean gap between confidence and accuracy over bins of equal width (Naeini 2015; Guo 2017)."""
    if len(labels) == 0:
        return None
    confidence, right, which = _binned(probabilities, labels, ERROR_BINS)
    return _error(confidence - right, which)


def calibration_error_interval(probabilities: Array, labels: Labels) -> tuple[float, float] | None:
    """95 % interval of the calibration error, from the bootstrap over images.

    The error is never negative, so that chance alone raises it, and the bootstrap raises it once more. The interval
    is the percentile interval reflected at the figure, which corrects for that (Davison and Hinkley 1997, section
    5.2), cut at 0. None without images.
    """
    n = len(labels)
    if n == 0:
        return None
    confidence, right, which = _binned(probabilities, labels, ERROR_BINS)
    gaps = confidence - right
    rng = np.random.default_rng(0)
    drawn = (rng.integers(0, n, n) for _ in range(_RESAMPLES))
    low, high = np.quantile([_error(gaps[rows], which[rows]) for rows in drawn], [0.025, 0.975])
    figure = _error(gaps, which)
    return max(0.0, float(2 * figure - high)), max(figure, float(2 * figure - low))


def _binned(
    probabilities: Array, labels: Labels, bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Confidence, whether it was right, and the bin of each image."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    return confidence, right, np.minimum((confidence * bins).astype(np.int64), bins - 1)


def _error(gaps: NDArray[np.float64], which: NDArray[np.int64]) -> float:
    return float(np.abs(np.bincount(which, weights=gaps, minlength=ERROR_BINS)).sum() / len(gaps))
