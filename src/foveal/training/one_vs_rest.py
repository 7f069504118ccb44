"""A linear head for images with several labels: a regularised logistic regression for each label, one against the rest.

All of them have one strength, chosen by grouped cross-validation as in `linear_head`, and are fitted at once: the
labels share a product of matrices, but no weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from foveal.blas import one_thread
from foveal.clock import Deadline
from foveal.machine import cores
from foveal.metrics.multi_label import binary_log_loss, sigmoid
from foveal.models.linear_head import LinearHead
from foveal.training.compare_label_sets import LabelSetEvidence
from foveal.training.linear_head import (
    CrossValidation,
    Directions,
    moments,
    search_strength,
)
from foveal.training.softmax_regression import minimise
from foveal.values import SplitRecord

Array = NDArray[np.float32]
Targets = NDArray[np.int64]

#: Iterations of L-BFGS in cross-validation, which compares strengths, and at the end.
_ROUGH, _FINE = 60, 200
#: Probabilities are taken to be at least this far from 0 and 1 before their logit.
_LEAST = 1e-7


def fit_one_vs_rest(views: Array, targets: Targets, strength: float) -> LinearHead:
    """Minimise for each label its mean binary cross-entropy plus `sum(weight ** 2) / (2 * strength)`, by all images.

    The penalty is on the weights of standardised features. A label that all images have, or none, gets its frequency as
    the only answer.

    Args:
        views: `(V, N, D)`; every view of an image counts as an image.
        targets: `(N, L)`, 1 where an image has the label.
        strength: C × n of `sklearn.linear_model.LogisticRegression`.
    """
    mean, deviation = moments(views)
    head = _fitted((views - mean) / deviation, targets, strength, _FINE)
    weight = head.weight / deviation
    return LinearHead(weight.astype(np.float32), (head.bias - weight @ mean).astype(np.float32))


def _fitted(views: Array, targets: Targets, strength: float, iterations: int) -> LinearHead:
    """The head for features as they are, with at most so many iterations of L-BFGS."""
    features = views.reshape(-1, views.shape[-1])
    every = np.tile(targets, (views.shape[0], 1)).astype(np.float32)
    n, positives = len(targets), targets.sum(axis=0)
    weight = np.zeros((targets.shape[1], features.shape[1]), dtype=np.float32)
    bias = np.log((positives + 0.5) / (n - positives + 0.5)).astype(np.float32)
    varied = np.flatnonzero((positives > 0) & (positives < n))
    if len(varied):
        wanted = every[:, varied]

        def loss(logits: Array) -> tuple[float, Array]:
            # log(1 + exp(x)) - y x, without overflow
            values = np.logaddexp(0, logits, dtype=np.float64) - wanted * logits
            return float(values.sum(axis=1).mean()), sigmoid(logits) - wanted

        found = minimise(features, len(varied), loss, strength, iterations=iterations)
        weight[varied], bias[varied] = found[:-1].T, found[-1]
    return LinearHead(weight, bias)


def cross_validate(
    views: Array, targets: Targets, folds: NDArray[np.int64] | None, *, deadline: Deadline
) -> CrossValidation | None:
    """Choose the strength; the arguments are those of `linear_head.cross_validate`, with targets `(N, L)`.

    The accuracy is the share of right decisions at a probability of one half, over all images and labels.
    """
    if folds is None:
        return None
    turned = Directions(views).turned

    def attempt(strength: float) -> tuple[float, float, Array]:
        probabilities = np.zeros(targets.shape, dtype=np.float32)
        for outside, head in _heads(turned, targets, folds, strength):
            probabilities[outside] = np.mean([sigmoid(head.logits(view[outside])) for view in turned], axis=0)
        right = float(((probabilities >= 0.5) == targets).mean())
        return right, binary_log_loss(probabilities, targets), probabilities

    return search_strength(attempt, deadline)


def out_of_fold_logits(views: Array, targets: Targets, folds: NDArray[np.int64], strength: float) -> Array:
    """What heads of this strength say of images that they were not fitted on, `(N, L)`."""
    turned = Directions(views).turned
    logits = np.zeros(targets.shape, dtype=np.float32)
    for outside, head in _heads(turned, targets, folds, strength):
        logits[outside] = head.logits(turned[:, outside])
    return logits


def label_set_evidence(
    records: Sequence[SplitRecord], chosen: CrossValidation, targets: Targets
) -> LabelSetEvidence:
    """Predictions of a cross-validation as evidence."""
    p = np.clip(chosen.probabilities.astype(np.float64), _LEAST, 1 - _LEAST)
    return LabelSetEvidence.of(records, np.log(p / (1 - p)).astype(np.float32), targets)


def all_seen(targets: Targets, classes: int) -> bool:
    """Whether some image has each of the labels."""
    return bool((targets.sum(axis=0) > 0).all())


def _heads(
    views: Array, targets: Targets, folds: NDArray[np.int64], strength: float
) -> list[tuple[NDArray[np.bool_], LinearHead]]:
    """For each fold which images are in it `(N,)`, and a head that was fitted on the others; in parallel.

    The features are as `Directions` turned them: standardised before they were turned, and so not to be scaled again.
    """

    def fitted(fold: int) -> tuple[NDArray[np.bool_], LinearHead]:
        outside = folds == fold
        return outside, _fitted(views[:, ~outside], targets[~outside], strength, _ROUGH)

    with one_thread(), ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(fitted, range(int(folds.max()) + 1)))
