"""Multinomial logistic regression by SciPy's L-BFGS: what scikit-learn's does, without two seconds of imports.

For the first model of a run with many small images, which has to exist within seconds. All other heads are fitted by
scikit-learn, see `linear_head`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from foveal.models.linear_head import LinearHead

#: Iterations of L-BFGS.
_MOST_ITERATIONS = 100

#: Logits to a mean loss and its gradient, see `minimise`.
Loss = Callable[[NDArray[np.float32]], tuple[float, NDArray[np.float32]]]


def fit_softmax(
    features: NDArray[np.float32], labels: NDArray[np.int64], strength: float, *, floor: float = 0.0
) -> LinearHead:
    """Minimise the mean cross-entropy plus `sum(weight ** 2) / (2 * strength)`, for standardised features.

    Args:
        features: `(N, D)`.
        labels: `(N,)`, of all classes 0 … K - 1.
        strength: C × n of `sklearn.linear_model.LogisticRegression`.
        floor: see `linear_head.fit_head`.
    """
    rows, classes = np.arange(len(labels)), int(labels.max()) + 1

    def loss(logits: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        logits -= logits.max(axis=1, keepdims=True)
        exponentials = np.exp(logits)
        totals = exponentials.sum(axis=1, keepdims=True)
        value = float((np.log(totals[:, 0]) - logits[rows, labels]).mean(dtype=np.float64))
        errors = exponentials / totals
        errors[rows, labels] -= 1
        return value, errors

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.maximum(np.where(deviation < 1e-6, 1.0, deviation), np.float32(floor * deviation.mean()))
    fitted = minimise((features - mean) / deviation, classes, loss, strength)
    weight = (fitted[:-1] / deviation[:, None]).T
    return LinearHead(weight.astype(np.float32), (fitted[-1] - weight @ mean).astype(np.float32))


def minimise(
    features: NDArray[np.float32], outputs: int, loss: Loss, strength: float, *, iterations: int = _MOST_ITERATIONS
) -> NDArray[np.float64]:
    """Minimise a loss of linear outputs plus `sum(weight ** 2) / (2 * strength)`.

    Args:
        features: `(N, D)`, standardised: the penalty is the same for all of them.
        outputs: K.
        loss: logits `(N, K)`, which it may change → the mean over the images, and its gradient times N, `(N, K)`.
        strength: C × n of `sklearn.linear_model.LogisticRegression`.
        iterations: of L-BFGS, at most.

    Returns:
        The weights and, as the last row, the biases, `(D + 1, K)`.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    inputs = np.ones((len(features), features.shape[1] + 1), dtype=np.float32)
    inputs[:, :-1] = features

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """With its gradient."""
        weight = flat.reshape(-1, outputs).astype(np.float32)
        value, errors = loss(inputs @ weight)
        penalised = weight.copy()
        penalised[-1] = 0  # the bias is not
        value += float((penalised.astype(np.float64) ** 2).sum()) / (2 * strength)
        gradient = inputs.T @ errors / len(features) + penalised / strength
        return value, gradient.ravel().astype(np.float64)

    with threadpool_limits(1):  # two threads wait for each other on matrices of this size
        start = np.zeros(inputs.shape[1] * outputs)
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    fitted: NDArray[np.float64] = found.x.reshape(-1, outputs)
    return fitted
