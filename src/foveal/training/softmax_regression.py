"""Multinomial logistic regression by SciPy's L-BFGS: what scikit-learn's does, without two seconds of imports.

For the first model of a run with many small images, which has to exist within seconds. All other heads are fitted by
scikit-learn, see `linear_head`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foveal.models.linear_head import LinearHead

#: Iterations of L-BFGS.
_MOST_ITERATIONS = 100


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
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.maximum(np.where(deviation < 1e-6, 1.0, deviation), np.float32(floor * deviation.mean()))
    inputs = np.ones((len(features), features.shape[1] + 1), dtype=np.float32)
    inputs[:, :-1] = (features - mean) / deviation
    rows, classes = np.arange(len(labels)), int(labels.max()) + 1

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The objective and its gradient."""
        weight = flat.reshape(-1, classes).astype(np.float32)
        logits = inputs @ weight
        logits -= logits.max(axis=1, keepdims=True)
        exponentials = np.exp(logits)
        totals = exponentials.sum(axis=1, keepdims=True)
        value = float((np.log(totals[:, 0]) - logits[rows, labels]).mean(dtype=np.float64))
        errors = exponentials / totals
        errors[rows, labels] -= 1
        penalised = weight.copy()
        penalised[-1] = 0  # the bias is not
        value += float((penalised.astype(np.float64) ** 2).sum()) / (2 * strength)
        gradient = inputs.T @ errors / len(labels) + penalised / strength
        return value, gradient.ravel().astype(np.float64)

    with threadpool_limits(1):  # two threads wait for each other on matrices of this size
        start = np.zeros(inputs.shape[1] * classes)
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _MOST_ITERATIONS})
    fitted = found.x.reshape(-1, classes)
    weight = (fitted[:-1] / deviation[:, None]).T
    return LinearHead(weight.astype(np.float32), (fitted[-1] - weight @ mean).astype(np.float32))
