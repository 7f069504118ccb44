"""Calibrated probabilities and prediction sets, fitted on images that the model was not fitted on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


#: Upper bounds of all but the last bin of a histogram of scores: finer where the scores of a good model are.
SCORE_BOUNDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class HeldOutLogits:
    """Logits for images that a model was not fitted on.

    Attributes:
        logits: `(N, K)`.
        targets: `(N,)`, 0 … K-1; of several labels for each image `(N, K)`, 1 where it has the label.
        groups: what each image belongs to: groups are exchangeable, the images of one are not.
    """

    logits: Array
    targets: NDArray[np.int64]
    groups: Sequence[str]


@dataclass(frozen=True)
class PredictionSets:
    """Sets of classes that hold the true one with a certain probability (LAC: Sadinle 2019).

    Attributes:
        coverage: the share of new images whose set is to hold the true class.
        threshold: the probability from which on a class is in the set; 0: every class is.
        images, groups: that it was calibrated on.
        at_least: the share that is reached with a confidence of 90 %, whatever images were drawn for the calibration
            (Vovk 2012, "Conditional validity of inductive conformal predictors"); None where the threshold is 0.
    """

    coverage: float
    threshold: float = 0.0
    images: int = 0
    groups: int = 0
    at_least: float | None = None

    @property
    def groups_needed(self) -> int:
        """The fewest groups that the coverage can be had with, short of every class."""
        return math.ceil(self.coverage / (1 - self.coverage) - 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """As `sets` in `summary.json` and `bundle.json`."""
        return {**asdict(self), "groups_needed": self.groups_needed}


@dataclass(frozen=True)
class Calibration:
    """What images that a model was not fitted on say about it: the validation subset, or each fold in its turn.

    Attributes:
        validation: its figures there, with `n`.
        temperature: see `Manifest`.
        sets: of predictions; None where there are none.
        thresholds: see `Manifest`.
    """

    validation: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    sets: PredictionSets | None = None
    thresholds: tuple[float, ...] = ()


def softmax(logits: Array, temperature: float = 1.0) -> Array:
    """Logits `(N, K, …)` as probabilities along the second axis."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    result: Array = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def fit_temperature(logits: Array, labels: NDArray[np.int64]) -> float:
    """The temperature of least log-loss (Guo 2017, "On Calibration of Modern Neural Networks").

    Returns:
        A number in [0.05, 20]; 1 for fewer than ten images.
    """
    if len(labels) < 10:
        return 1.0
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        p = softmax(logits, math.exp(log_t))[np.arange(len(labels)), labels]
        # The weak prior at 1 decides where a perfect validation score leaves the temperature open.
        return float(-np.log(np.maximum(p, 1e-12)).mean()) + 0.01 * log_t**2

    result = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20.0)), method="bounded")
    return float(math.exp(result.x))


def score_histogram(scores: NDArray[np.floating[Any]]) -> list[int]:
    """How many scores, the probabilities of predicted classes, lie in each bin of `SCORE_BOUNDS`."""
    bins = np.searchsorted(np.asarray(SCORE_BOUNDS), scores, side="left")
    return [int(n) for n in np.bincount(bins, minlength=len(SCORE_BOUNDS) + 1)]


def prediction_sets(
    probabilities: Array, labels: NDArray[np.int64], coverage: float, groups: Sequence[str] | None = None
) -> PredictionSets:
    """The threshold of prediction sets, by split conformal prediction (LAC: Sadinle 2019).

    With exchangeable groups the sets of a new group hold the true class with at least this coverage on average.

    Args:
        probabilities: `(N, K)`.
        labels: `(N,)`, 0 … K-1.
        coverage: above 0, below 1.
        groups: what each image belongs to; the images of a group share its weight. None: each stands alone.

    Returns:
        With a threshold of 0 (every class is in the set) where there are too few groups for the coverage.
    """
    n = len(labels)
    names = np.arange(n).astype(str) if groups is None else np.asarray(groups, dtype=str)
    _, index = np.unique(names, return_inverse=True)
    sizes = np.bincount(index) if n else np.zeros(0, dtype=np.int64)
    count = len(sizes)
    rank = math.ceil((count + 1) * coverage - 1e-9)
    if n == 0 or rank > count:
        return PredictionSets(coverage, images=n, groups=count)
    from scipy.stats import beta

    true = probabilities[np.arange(n), labels]
    order = np.argsort(-true, kind="stable")
    reached = np.cumsum(1 / sizes[index][order])
    place = min(n - 1, int(np.searchsorted(reached, rank - 1e-6)))
    at_least = float(beta.ppf(0.1, rank, count + 1 - rank))
    return PredictionSets(coverage, float(true[order[place]]), n, count, at_least)


def in_sets(probabilities: Array, threshold: float | Array) -> NDArray[np.bool_]:
    """Which classes are in the prediction set of each image, `(N, K)`; the likeliest one always is.

    The threshold is one for all images, or `(N, 1)`.
    """
    inside: NDArray[np.bool_] = probabilities >= threshold
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside
