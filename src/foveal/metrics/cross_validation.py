"""Intervals of figures of a cross-validation: each image was predicted once, by one of K models.

The base is the interval of a test set of all images. Under stability of the learning algorithm it is valid for the
mean accuracy of the K models (Bayle, Bayle, Janson and Mackey 2020, "Cross-validation confidence intervals for test
error", with the variance of all images together). Two things make it wider:

- images of a group (near-duplicates, bursts) are alike: the variance between groups is taken where it is larger;
- the delivered model learned from one sample of images, and a cross-validation is nearly independent of how lucky that
  one was (Bates, Hastie and Tibshirani 2024, "Cross-validation: what does it estimate and how well does it do it?").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveal.metrics.intervals import wilson
from foveal.metrics.paired import design_effect

#: By how much the variance around the accuracy of the delivered model is larger than that of a test set of as many
#: images: 1.2 to 1.4 on features of photographs and on digits, with 200 to 600 images (`bench/cv_interval.py`).
LEARNING_VARIANCE = 4 / 3


def cross_validation_effect(right: NDArray[np.bool_], groups: Sequence[str]) -> float:
    """How much larger the variance of figures is than that of a test set of as many images, each alone.

    Args:
        right: whether each of the N images was predicted right, `(N,)`.
        groups: what each image belongs to, N names.
    """
    effect, count = design_effect(right.astype(np.float64), groups)
    if right.all() or not right.any():  # nothing tells how alike the images of a group are
        effect = len(right) / count
    return LEARNING_VARIANCE * effect


def difference_interval(
    right_a: int, n_a: int, right_b: int, n_b: int, effect: float = 1.0
) -> tuple[float, float]:
    """95 % interval of the share A minus the share B, of different images.

    Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.

    Args:
        right_a, n_a, right_b, n_b: counts; there are images of both.
        effect: by which variances are larger than those of independent images.
    """
    a, b = right_a / n_a, right_b / n_b
    bounds_a, bounds_b = (wilson(r / effect, n / effect) for r, n in ((right_a, n_a), (right_b, n_b)))
    assert bounds_a is not None and bounds_b is not None
    below = math.hypot(a - bounds_a[0], bounds_b[1] - b)
    above = math.hypot(bounds_a[1] - a, b - bounds_b[0])
    return max(-1.0, a - b - below), min(1.0, a - b + above)
