"""A regularised linear head on frozen features: multinomial logistic regression.

Its strength is chosen by grouped cross-validation inside the training side: copies, near-
duplicates and the user's groups never stand on both sides of a fold.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.clock import Clock

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

#: Strengths tried, as C × n of scikit-learn's C: from strong to weak, until the log-loss rises.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
DEFAULT_STRENGTH = 3.0
FOLDS = 5
#: Cross-validation works in this many principal directions: the scores hardly differ, the time does.
_DIRECTIONS = 512


@dataclass(frozen=True)
class LinearHead:
    """`logits = features @ weight.T + bias`; weight `(K, D)`, bias `(K,)`."""

    weight: Array
    bias: Array

    def logits(self, features: Array) -> Array:
        """`(N, D)` to `(N, K)`; with several views `(V, N, D)`, the mean over the views."""
        if features.ndim == 3:
            features = features.mean(axis=0)
        result: Array = features @ self.weight.T + self.bias
        return result


@dataclass(frozen=True)
class CrossValidation:
    """What was tried and what came out, on pictures that the fold had not seen.

    Attributes:
        strength: the one chosen.
        accuracy, log_loss: its out-of-fold figures.
        tried: (strength, accuracy, log-loss) of each.
        probabilities: out-of-fold, `(N, K)`.
    """

    strength: float
    accuracy: float
    log_loss: float
    tried: list[tuple[float, float, float]]
    probabilities: Array


def cross_validate(
    views: Array, labels: Labels, groups: Sequence[str], *, seed: int, clock: Clock, reserve: float = 0.0
) -> CrossValidation | None:
    """Choose the strength.

    Args:
        views: `(V, N, D)` features of the training side.
        labels: `(N,)`, 0 … K-1.
        groups: what must stay together.
        seed: of the folds.
        clock: when `reserve` is reached, the best so far is taken.
        reserve: seconds to keep.

    Returns:
        None when there are too few pictures, or too little time, for even one strength.
    """
    folds = _folds(labels, groups, seed)
    if folds is None:
        return None
    rotated = _rotated(views)
    tried: list[tuple[float, float, float]] = []
    best: CrossValidation | None = None
    models: dict[int, Any] = {}
    for strength in STRENGTHS:
        if clock.left(reserve=reserve) <= 0:
            break
        probabilities = np.zeros((len(labels), int(labels.max()) + 1), dtype=np.float32)
        for k in range(int(folds.max()) + 1):
            inside, outside = folds != k, folds == k
            model = models[k] = _solve(rotated[:, inside], labels[inside], strength, rough=True, start=models.get(k))
            probabilities[np.ix_(outside, model.classes_)] = _mean_probabilities(model, rotated[:, outside])
        right = float((probabilities.argmax(axis=1) == labels).mean())
        loss = float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-7)).mean())
        tried.append((strength, right, loss))
        if best is None or loss < best.log_loss:
            best = CrossValidation(strength, right, loss, tried, probabilities)
        elif loss > best.log_loss * 1.02:
            break
    return best


def fit_head(views: Array, labels: Labels, strength: float) -> LinearHead:
    """Fit on everything.

    Args:
        views: `(V, N, D)`; every view of a picture counts as a picture.
        labels: `(N,)`.
        strength: C × n, see `STRENGTHS`.
    """
    mean, deviation = _moments(views)
    model = _solve((views - mean) / deviation, labels, strength, rough=False)
    weight, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / deviation
    return LinearHead(weight.astype(np.float32), (bias - weight @ mean).astype(np.float32))


def _solve(views: Array, labels: Labels, strength: float, *, rough: bool, start: Any = None) -> Any:  # noqa: ANN401
    from sklearn.linear_model import LogisticRegression

    count = views.shape[0] * views.shape[1]
    model = start or LogisticRegression(max_iter=500, warm_start=True)
    model.set_params(C=strength / count, tol=1e-2 if rough else 1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a solver that stops early is checked by its score
        model.fit(views.reshape(count, -1), np.tile(labels, views.shape[0]))
    return model


def _mean_probabilities(model: Any, views: Array) -> Array:  # noqa: ANN401
    result: Array = np.mean([model.predict_proba(v) for v in views], axis=0)
    return result


def _moments(views: Array) -> tuple[Array, Array]:
    flat = views.reshape(-1, views.shape[-1])
    deviation = flat.std(axis=0)
    return flat.mean(axis=0), np.where(deviation < 1e-6, 1.0, deviation).astype(np.float32)


def _rotated(views: Array) -> Array:
    """Standardised and turned into the leading principal directions: L2 does not mind a rotation."""
    mean, deviation = _moments(views)
    standard = (views - mean) / deviation
    flat = standard.reshape(-1, standard.shape[-1])
    if flat.shape[1] <= _DIRECTIONS:
        return standard
    _, directions = np.linalg.eigh(flat.T @ flat)
    result: Array = standard @ directions[:, ::-1][:, :_DIRECTIONS]
    return result


def _folds(labels: Labels, groups: Sequence[str], seed: int) -> NDArray[np.int64] | None:
    """Fold numbers `(N,)`; None when some class could not be on both sides of any fold."""
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = min(
        len({groups[i] for i in np.flatnonzero(labels == label)}) for label in range(int(labels.max()) + 1)
    )
    count = min(FOLDS, fewest)
    if count < 2:
        return None
    folds = np.zeros(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for k, (_, outside) in enumerate(splitter.split(labels, labels, np.asarray(groups))):
        folds[outside] = k
    return folds
