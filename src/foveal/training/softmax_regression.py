"""Multinomial logistic regression by SciPy's L-BFGS.

It is the model of `sklearn.linear_model.LogisticRegression`, to which the tests compare it. Cross-validation fits
hundreds of small ones, on which scikit-learn spends most of the time validating its input.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.blas import one_thread

Array = NDArray[np.float32]

#: Iterations of L-BFGS at most, and the gradient at which it ends: those of a final fit.
MOST_ITERATIONS, TOLERANCE = 500, 1e-4
#: Numbers in a matrix from which on its products are shared among cores. Smaller ones gain nothing by it, and where
#: another program is busy the threads that wait for each other take twenty times as long (measured with one to four
#: million numbers; the limit itself is assumed).
_SHARED_FROM = 30_000_000
#: Steps of a line search: twice SciPy's default, as scikit-learn has it.
_LINE_SEARCH = 50

#: Logits to a mean loss and its gradient, see `minimise`.
Loss = Callable[[Array], tuple[float, Array]]


@dataclass(frozen=True)
class SoftmaxRegression:
    """A fitted model.

    Attributes:
        classes: the K labels that it saw, in order.
        weight: `(D, K)`.
        bias: `(K,)`.
    """

    classes: NDArray[np.int64]
    weight: Array
    bias: Array

    def log_probabilities(self, features: Array) -> NDArray[np.float64]:
        """Of features `(N, D)`, `(N, K)`."""
        logits = (features @ self.weight + self.bias).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        result: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return result


def fit_softmax(
    features: Array,
    labels: NDArray[np.int64],
    strength: float,
    *,
    tolerance: float = TOLERANCE,
    iterations: int = MOST_ITERATIONS,
    start: SoftmaxRegression | None = None,
) -> SoftmaxRegression:
    """Minimise the mean cross-entropy plus `sum(weight ** 2) / (2 * strength)`; with two classes, of their difference.

    Args:
        features: `(N, D)`, standardised: the penalty is the same for all of them.
        labels: `(N,)`.
        strength: C × n of `sklearn.linear_model.LogisticRegression`.
        tolerance: largest gradient at the end.
        iterations: of L-BFGS, at most.
        start: where to begin: a model of the same classes.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    rows = np.arange(len(codes))

    def loss(logits: Array) -> tuple[float, Array]:
        logits -= logits.max(axis=1, keepdims=True)
        exponentials = np.exp(logits)
        totals = exponentials.sum(axis=1, keepdims=True)
        value = float((np.log(totals[:, 0]) - logits[rows, codes]).mean(dtype=np.float64))
        errors = exponentials / totals
        errors[rows, codes] -= 1
        return value, errors

    # The difference of two classes is twice the weights of each, and its square is twice the sum of their squares.
    penalty = strength / 2 if len(classes) == 2 else strength
    begin = None if start is None else np.concatenate([start.weight, start.bias[None]])
    fitted = minimise(
        features, len(classes), loss, penalty, tolerance=tolerance, iterations=iterations, start=begin
    ).astype(np.float32)
    return SoftmaxRegression(classes, fitted[:-1], fitted[-1])


def minimise(
    features: Array,
    outputs: int,
    loss: Loss,
    strength: float,
    *,
    iterations: int,
    tolerance: float = 1e-5,
    start: Array | None = None,
) -> NDArray[np.float64]:
    """Minimise a loss of linear outputs plus `sum(weight ** 2) / (2 * strength)`.

    Args:
        features: `(N, D)`, standardised: the penalty is the same for all of them.
        outputs: K.
        loss: logits `(N, K)`, which it may change → the mean over the images, and its gradient times N, `(N, K)`.
        strength: C × n of `sklearn.linear_model.LogisticRegression`.
        iterations: of L-BFGS, at most.
        tolerance: largest gradient at the end.
        start: weights and biases to begin with, `(D + 1, K)`; by default 0.

    Returns:
        The weights and, as the last row, the biases, `(D + 1, K)`.
    """
    from scipy.optimize import minimize

    shape = (features.shape[1] + 1, outputs)

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """With its gradient."""
        weight, bias = flat.reshape(shape)[:-1], flat.reshape(shape)[-1]
        value, errors = loss(features @ weight.astype(np.float32) + bias.astype(np.float32))
        gradient = np.empty(shape)
        gradient[:-1] = (errors.T @ features).T
        gradient[-1] = errors.sum(axis=0)
        gradient /= len(features)
        gradient[:-1] += weight / strength  # the bias is not penalised
        return value + float((weight**2).sum()) / (2 * strength), gradient.ravel()

    begin = np.zeros(shape).ravel() if start is None else start.ravel().astype(np.float64)
    options = {"maxiter": iterations, "gtol": tolerance, "maxls": _LINE_SEARCH}
    with one_thread() if features.size < _SHARED_FROM else nullcontext():
        found = minimize(objective, begin, jac=True, method="L-BFGS-B", options=options)
    fitted: NDArray[np.float64] = found.x.reshape(shape)
    return fitted
