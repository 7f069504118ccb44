"""A regularised linear head on frozen features: multinomial logistic regression.

Its strength (C × n) is chosen by grouped cross-validation inside the training subset: copies, near-duplicates and the
user's groups are never divided between a fold and the rest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from foveal.blas import one_thread
from foveal.clock import Deadline
from foveal.machine import cores
from foveal.models.linear_head import LinearHead
from foveal.training.softmax_regression import MOST_ITERATIONS, SoftmaxRegression, fit_softmax
from foveal.training.time_budget import FINAL_FIT

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

#: Strengths tried, as C × n of scikit-learn's C: from strong to weak, until the log-loss is not under a share of
#: the best before. Photographs choose 256; calibrated, all from 16 on do alike there (16 splits of scenes8, 2,560
#: images: 98.5 to 98.6 % right, log-loss 0.042 to 0.043).
STRENGTHS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
_FALLS = 0.99
DEFAULT_STRENGTH = 4.0
#: Folds are fitted in parallel when their feature matrices hold at least this many numbers together. Smaller fits spend
#: most of their time in Python, under its lock (the limit is assumed, not measured).
_PARALLEL_FROM = 1_000_000
#: The largest gradient at the end of a fit that is only compared with others.
_ROUGH = 3e-3
#: Cross-validation works in this many principal directions: the scores hardly differ, the time does.
_DIRECTIONS = 512
#: Probabilities are taken to be at least this before their logarithm.
_LEAST = 1e-12
#: A direction whose deviation is a smaller share of the largest one is rounding error.
_LEAST_ROOT = 1e-4


@dataclass(frozen=True)
class CrossValidation:
    """What was tried and what came out, on images that the fold was not fitted on.

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


def import_solvers() -> None:
    """Wait for the imports that a head needs: their seconds say nothing of how long a larger one takes."""
    for name in ("scipy.linalg", "scipy.optimize", "sklearn.model_selection"):
        import_module(name)


def cross_validate(
    views: Array, labels: Labels, folds: NDArray[np.int64] | None, *, deadline: Deadline
) -> CrossValidation | None:
    """Choose the strength.

    Args:
        views: `(V, N, D)` features of the training subset.
        labels: `(N,)`, 0 … K-1.
        folds: fold number of each image, `(N,)`; None: there are too few images for folds.
        deadline: when one more strength would not leave time for the final fit, the best so far is taken.

    Returns:
        None when there are too few images, or too little time, for even one strength.
    """
    return None if folds is None else choose_strength(Directions(views).turned, labels, folds, deadline=deadline)


def choose_strength(
    turned: Array, labels: Labels, folds: NDArray[np.int64], *, deadline: Deadline
) -> CrossValidation | None:
    """The same for features in their principal directions, `(V, N, M)`."""
    fits = [_Fold(turned, labels, folds == k) for k in range(int(folds.max()) + 1)]

    def attempt(strength: float) -> tuple[float, float, Array]:
        probabilities = np.zeros((len(labels), int(labels.max()) + 1), dtype=np.float32)
        for fold, (classes, found) in zip(fits, _solved(fits, strength), strict=True):
            probabilities[np.ix_(fold.outside, classes)] = found
        right = float((probabilities.argmax(axis=1) == labels).mean())
        loss = float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-7)).mean())
        return right, loss, probabilities

    return search_strength(attempt, deadline)


def search_strength(
    attempt: Callable[[float], tuple[float, float, Array]], deadline: Deadline
) -> CrossValidation | None:
    """Try strengths from the strongest regularisation on, until the log-loss hardly falls, or time is short.

    Args:
        attempt: a strength → accuracy, log-loss, and out-of-fold probabilities `(N, K)`.
        deadline: see `cross_validate`.
    """
    tried: list[tuple[float, float, float]] = []
    best: CrossValidation | None = None
    took = 0.0
    for strength in STRENGTHS:
        if deadline.left() <= (1 + FINAL_FIT) * took:
            break
        began = time.monotonic()
        right, loss, probabilities = attempt(strength)
        took = time.monotonic() - began
        tried.append((strength, right, loss))
        before = math.inf if best is None else best.log_loss
        if best is None or loss < before:
            best = CrossValidation(strength, right, loss, tried, probabilities)
        if loss > before * _FALLS:
            break
    return best


def out_of_fold_logits(views: Array, labels: Labels, folds: NDArray[np.int64], strength: float) -> Array:
    """What heads of this strength say of images that they were not fitted on, to calibrate `fit_head`'s by.

    Args:
        views: `(V, N, D)`.
        labels: `(N,)`, 0 … K-1.
        folds: fold number of each image, `(N,)`.
        strength: C × n, see `STRENGTHS`.

    Returns:
        Log-probabilities `(N, K)`: the views are averaged as in prediction.
    """
    turned = Directions(views).turned
    result = np.full((len(labels), int(labels.max()) + 1), np.log(_LEAST), dtype=np.float32)
    fits = [_Fold(turned, labels, folds == k) for k in range(int(folds.max()) + 1)]
    for fold, (classes, _) in zip(fits, _solved(fits, strength), strict=True):
        result[np.ix_(fold.outside, classes)] = fold.log_probabilities()
    return result


def fit_head(
    views: Array, labels: Labels, strength: float, *, floor: float = 0.0, iterations: int = MOST_ITERATIONS
) -> LinearHead:
    """Fit on everything.

    Args:
        views: `(V, N, D)`; every view of an image counts as an image.
        labels: `(N,)`.
        strength: C × n, see `STRENGTHS`.
        floor: share of the features' mean deviation that each of them is taken to have at least: one that hardly
            varies here, and does elsewhere, would otherwise outweigh all the others there.
        iterations: of L-BFGS, at most.
    """
    mean, deviation = moments(views)
    deviation = np.maximum(deviation, np.float32(floor * deviation.mean()))
    model = fit_softmax(*_rows((views - mean) / deviation, labels), strength, iterations=iterations)
    weight = model.weight.T / deviation
    return LinearHead(weight.astype(np.float32), (model.bias - weight @ mean).astype(np.float32))


class _Fold:
    """One fold of the cross-validation; each strength starts where the one before ended."""

    def __init__(self, views: Array, labels: Labels, outside: NDArray[np.bool_]) -> None:
        self.outside = outside
        self._others = views[:, outside]
        self._features, self._labels = _rows(views[:, ~outside], labels[~outside])
        self._model: SoftmaxRegression | None = None

    @property
    def numbers(self) -> int:
        """In its matrix of features."""
        return self._features.size

    def solve(self, strength: float) -> tuple[NDArray[np.int64], Array]:
        """The classes seen, and the probabilities `(M, classes)` of the images outside."""
        self._model = fit_softmax(self._features, self._labels, strength, tolerance=_ROUGH, start=self._model)
        found = [np.exp(self._model.log_probabilities(view)) for view in self._others]
        return self._model.classes, np.mean(found, axis=0)

    def log_probabilities(self) -> Array:
        """Of the images outside by the mean of their views, `(M, classes)`, by the head that `solve` fitted."""
        assert self._model is not None
        return log_probabilities(self._model, self._others)


def solve(turned: Array, labels: Labels, strength: float) -> SoftmaxRegression:
    """A head for features in their principal directions, `(V, N, M)`, to convergence.

    Args:
        turned: see `Directions`.
        labels: `(N,)`.
        strength: C × n, see `STRENGTHS`.
    """
    return fit_softmax(*_rows(turned, labels), strength)


def log_probabilities(model: SoftmaxRegression, views: Array) -> Array:
    """What a model of `solve` says of other images by the mean of their views, `(V, M, D)` to `(M, K)`."""
    return np.maximum(model.log_probabilities(views.mean(axis=0)), np.log(_LEAST)).astype(np.float32)


def _solved(fits: Sequence[_Fold], strength: float) -> list[tuple[NDArray[np.int64], Array]]:
    """What `solve` gives for each fold."""
    if sum(fit.numbers for fit in fits) < _PARALLEL_FROM:
        return [fit.solve(strength) for fit in fits]
    with one_thread(), ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(_Fold.solve, fits, repeat(strength)))


def _rows(views: Array, labels: Labels) -> tuple[Array, Labels]:
    """Every view of an image as an image, `(V N, D)`, and its label."""
    return views.reshape(-1, views.shape[-1]), np.tile(labels, views.shape[0])


def moments(views: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each feature over all views and images, `(D,)`; 1 for one that hardly varies."""
    flat = views.reshape(-1, views.shape[-1])
    deviation = flat.std(axis=0)
    return flat.mean(axis=0), np.where(deviation < 1e-6, 1.0, deviation).astype(np.float32)


class Directions:
    """Standardised features turned into their leading principal directions: L2 regularisation is invariant to rotation.

    Attributes:
        turned: the features that they were found in, `(V, N, M)`.
    """

    def __init__(self, views: Array) -> None:
        self._mean, self._deviation = moments(views)
        self._basis: Array | None = None
        standard = (views - self._mean) / self._deviation
        flat = standard.reshape(-1, standard.shape[-1])
        if flat.shape[1] <= _DIRECTIONS:
            self.turned: Array = standard
            return
        from scipy.linalg import eigh

        if len(flat) < flat.shape[1]:  # the rows' products have the same directions, and are fewer
            most = min(_DIRECTIONS, len(flat))
            sizes, places = eigh(flat @ flat.T, subset_by_index=[len(flat) - most, len(flat) - 1])
            roots = np.sqrt(np.maximum(sizes, 0.0))
            turned: Array = (places * roots).astype(np.float32)
            self.turned = turned.reshape(*views.shape[:2], most)
            known = roots > _LEAST_ROOT * roots.max(initial=0.0)
            self._basis = (flat.T @ (places * np.where(known, 1 / np.where(known, roots, 1), 0))).astype(
                np.float32
            )
            return
        top = [flat.shape[1] - _DIRECTIONS, flat.shape[1] - 1]
        _, self._basis = eigh(flat.T @ flat, subset_by_index=top)
        self.turned = standard @ self._basis

    def turn(self, views: Array) -> Array:
        """Other features `(…, N, D)` in the same directions, `(…, N, M)`."""
        standard: Array = (views - self._mean) / self._deviation
        return standard if self._basis is None else standard @ self._basis
