"""Cross-validation as a test: every image is predicted once, by a head that learned nothing from it or its group.

It is nested: in each fold strength, temperature and the threshold of prediction sets are chosen on the other folds
alone, by a cross-validation of their own (Varma and Simon 2006, "Bias in error estimation when using cross-validation
for model selection").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.clock import Clock, Deadline
from foveal.metrics.calibration import fit_temperature, prediction_sets, softmax
from foveal.training.imbalance import adjustment, choose_tau
from foveal.training.linear_head import (
    DEFAULT_STRENGTH,
    Array,
    Directions,
    Labels,
    choose_strength,
    log_probabilities,
    solve,
)

#: Folds of the test. With ten, each head learned from nine tenths of the images, and is hardly worse than one of all.
TEST_FOLDS = 10
#: The least probability whose logarithm is taken of predictions that strengths are compared by.
_LEAST = 1e-7
_FOREVER = Deadline(Clock())


@dataclass(frozen=True)
class CrossTested:
    """Predictions for all N images, each by a head that was fitted without the image's fold.

    Attributes:
        folds: the fold that each image was predicted in, `(N,)`.
        probabilities: calibrated, `(N, K)`.
        thresholds: of the prediction set of each image, `(N,)`; 0 where there were too few images for one.
        strengths: chosen in each fold.
    """

    folds: NDArray[np.int64]
    probabilities: Array
    thresholds: NDArray[np.float64]
    strengths: tuple[float, ...]


def cross_test(
    views: Array,
    labels: Labels,
    classes: int,
    folds: NDArray[np.int64],
    inner_folds: Callable[[NDArray[np.int64]], NDArray[np.int64] | None],
    groups: Sequence[str],
    *,
    coverage: float,
    balance: bool = False,
    on_each: Callable[[int], object] = lambda _: None,
) -> CrossTested:
    """Predict every image once.

    Args:
        views: `(V, N, D)` features.
        labels: `(N,)`, 0 … K-1.
        classes: K.
        folds: fold number of each image, `(N,)`, whole groups in one fold.
        inner_folds: positions of images → their fold numbers in a cross-validation without the others; None: too few.
        groups: what each image belongs to, N names.
        coverage: of prediction sets.
        balance: whether logits are adjusted where classes are unbalanced, as far as the fold's own choice goes.
        on_each: is told of each fold.
    """
    probabilities = np.zeros((len(labels), classes), dtype=np.float32)
    thresholds = np.zeros(len(labels))
    strengths = []
    names = np.asarray(groups)
    for k in range(int(folds.max()) + 1):
        inside, outside = np.flatnonzero(folds != k), np.flatnonzero(folds == k)
        known, codes = np.unique(labels[inside], return_inverse=True)
        directions = Directions(views[:, inside])
        inner = inner_folds(inside)
        chosen = None if inner is None else choose_strength(directions.turned, codes, inner, deadline=_FOREVER)
        strength = chosen.strength if chosen else DEFAULT_STRENGTH
        temperature, moved = 1.0, np.zeros(len(known), dtype=np.float32)
        if chosen:
            held_out = np.log(np.maximum(chosen.probabilities, _LEAST))
            moved = adjustment(codes, len(known), choose_tau(held_out, codes, wanted=balance)[0])
            held_out -= moved
            temperature = fit_temperature(held_out, codes)
            sets = prediction_sets(softmax(held_out, temperature), codes, coverage, names[inside].tolist())
            thresholds[outside] = sets.threshold
        head = solve(directions.turned, codes, strength)
        logits = log_probabilities(head, directions.turn(views[:, outside])) - moved
        probabilities[np.ix_(outside, known)] = softmax(logits, temperature)
        strengths.append(strength)
        on_each(1)
    return CrossTested(folds, probabilities, thresholds, tuple(strengths))
