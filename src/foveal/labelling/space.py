"""Features as points in few dimensions: what is alike lies together. Arrays in, arrays out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from foveal.engines.base import Features

#: Dimensions that are kept. Distances between images change little, and everything else is ten times as fast.
DIMENSIONS = 128
#: Groups of more images are divided: more can hardly be seen at a glance.
MOST_IN_GROUP = 96
#: Rows that are compared at once with all others.
_ROWS = 2048
#: Regularisation of the covariance, as a share of its mean variance: few images have labels at first.
_SHRINKAGE = 0.5
#: The temperature is chosen out of so many folds, among these values, when that many images can be held out.
_FOLDS, _TEMPERATURES, _ENOUGH = 3, (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0), 20
_USUAL_TEMPERATURE = 3.0

_Ints = NDArray[np.int64]
P = ParamSpec("P")
R = TypeVar("R")


@cache
def _libraries() -> ThreadpoolController:
    from sklearn.utils import check_array  # noqa: F401  (its libraries have to be loaded to be found)

    return ThreadpoolController()


def _on_one_core(function: Callable[P, R]) -> Callable[P, R]:
    """On matrices of this size several threads mostly wait for each other: 0.1 s became 5 s beside other programs."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with _libraries().limit(limits=1):
            return function(*args, **kwargs)

    return limited


@_on_one_core
def points_of(features: Features, *, seed: int = 0) -> Features:
    """Directions of features `(N, D)` on their principal axes, `(N, d)`; rows of length 1."""
    from sklearn.decomposition import PCA

    directions = _unit(features)
    kept = min(DIMENSIONS, *directions.shape)
    if kept < 2:
        return directions
    axes = PCA(kept, svd_solver="randomized", random_state=seed)
    return _unit(axes.fit_transform(directions))


@_on_one_core
def clusters(points: Features, *, seed: int = 0) -> list[_Ints]:
    """Rows of `points` `(N, d)` in about √N groups of at most `MOST_IN_GROUP`, more than there are classes."""
    count = round(np.sqrt(len(points)))
    if count < 2:
        return [np.arange(len(points))] if len(points) else []
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where many images are the same, there are fewer groups
        found = KMeans(count, n_init=1, max_iter=50, random_state=seed).fit_predict(points)
    todo = [np.flatnonzero(found == number) for number in range(count)]
    small: list[_Ints] = []
    while todo:
        rows = todo.pop()
        if len(rows) <= MOST_IN_GROUP:
            small += [rows] if len(rows) else []
        else:
            todo += [rows[half] for half in halves(points[rows], seed=seed)]
    return small


@_on_one_core
def halves(points: Features, *, seed: int = 0) -> tuple[_Ints, _Ints]:
    """Rows of `points` `(N, d)`, N ≥ 2, in two groups, neither of them empty."""
    from sklearn.cluster import KMeans

    second = np.zeros(len(points), dtype=bool)
    if len(np.unique(points, axis=0)) > 1:
        second = KMeans(2, n_init=4, random_state=seed).fit_predict(points) == 1
    if not second.any() or second.all():
        second = np.arange(len(points)) >= len(points) // 2
    return np.flatnonzero(~second), np.flatnonzero(second)


@_on_one_core
def nearest(points: Features, known: Features) -> NDArray[np.float32]:
    """The cosine between each row `(N, d)` and the most similar one of `known` `(M, d)`; -1 without any."""
    result = np.full(len(points), -1.0, dtype=np.float32)
    if len(known):
        for start in range(0, len(points), _ROWS):
            result[start : start + _ROWS] = (points[start : start + _ROWS] @ known.T).max(axis=1)
    return result


@_on_one_core
def probabilities(points: Features, known: Features, labels: Sequence[str]) -> tuple[list[str], Features]:
    """Classes, and the probability of each for rows of `points`, `(N, K)`, by a linear model of what is labelled.

    It is linear discriminant analysis, since that is fitted in milliseconds. With one class, everything is of it.

    Args:
        points: `(N, d)`.
        known: labelled points, `(M, d)`.
        labels: of `known`.
    """
    classes = sorted(set(labels))
    if len(classes) < 2:
        return classes, np.ones((len(points), len(classes)), dtype=np.float32)
    positions = {label: number for number, label in enumerate(classes)}
    targets = np.array([positions[label] for label in labels])
    # The spread of all images, which is known from the first label on, stands in for that within the few labelled.
    spread = max(1e-4, float(np.concatenate([points, known]).var(axis=0).mean()))
    scores = _scores(points, known, targets, len(classes), spread)
    return classes, softmax(scores / _temperature(known, targets, len(classes), spread))


def _scores(points: Features, known: Features, targets: _Ints, count: int, spread: float) -> NDArray[np.float64]:
    """Logits `(N, K)`; of a class that `known` has not: minus infinity."""
    counts = np.bincount(targets, minlength=count)
    members = np.eye(count, dtype=np.float32)[targets]
    means = (members.T @ known) / np.maximum(counts, 1)[:, None]
    inner = known - means[targets]
    covariance = inner.T @ inner / len(known)
    ridge = _SHRINKAGE * (float(np.trace(covariance)) / len(covariance) + spread)
    weights = np.linalg.solve((1 - _SHRINKAGE) * covariance + ridge * np.eye(len(covariance)), means.T)
    # Square roots of the counts: how often a class was labelled so far says little about how often it occurs.
    prior = 0.5 * np.log(np.maximum(counts, 1) / counts.sum())
    scores: NDArray[np.float64] = points @ weights - 0.5 * (means.T * weights).sum(axis=0) + prior
    scores[:, counts == 0] = -np.inf
    return scores


def _temperature(known: Features, targets: _Ints, count: int, spread: float) -> float:
    """What the logits are divided by, so that probabilities out of fold are likely: the model alone is too sure."""
    place = np.zeros(len(targets), dtype=np.int64)
    for number in range(count):
        place[targets == number] = np.arange((targets == number).sum())
    held_out, truth = [], []
    for fold in range(_FOLDS):
        there = place % _FOLDS == fold
        learned = np.isin(targets, targets[~there])
        if (there & learned).any() and not there.all():
            held_out.append(_scores(known[there & learned], known[~there], targets[~there], count, spread))
            truth.append(targets[there & learned])
    if not held_out or sum(map(len, truth)) < _ENOUGH:
        return _USUAL_TEMPERATURE
    scores, right = np.concatenate(held_out), np.concatenate(truth)
    rows = np.arange(len(right))

    def loss(temperature: float) -> float:
        return -float(np.log(np.maximum(softmax(scores / temperature)[rows, right], 1e-9)).mean())

    return min(_TEMPERATURES, key=loss)


def softmax(scores: NDArray[np.floating]) -> Features:
    """Rows that add up to 1."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Features = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def _unit(rows: Features) -> Features:
    result: Features = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return result
