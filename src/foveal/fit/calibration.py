"""From scores to probabilities that can be believed, on the validation side only."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def softmax(logits: Array, temperature: float = 1.0) -> Array:
    """Rows of `(N, K)` logits as probabilities."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    result: Array = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def fit_temperature(logits: Array, labels: NDArray[np.int64]) -> float:
    """The temperature of least log-loss (Guo 2017, "On Calibration of Modern Neural Networks").

    Returns:
        A number in [0.05, 20]; 1 when there are fewer than ten pictures to fit it on.
    """
    if len(labels) < 10:
        return 1.0
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        p = softmax(logits, math.exp(log_t))[np.arange(len(labels)), labels]
        # The weak pull to 1 settles what a perfect validation score leaves open.
        return float(-np.log(np.maximum(p, 1e-12)).mean()) + 0.01 * log_t**2

    found = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20.0)), method="bounded")
    return float(math.exp(found.x))


def set_threshold(probabilities: Array, labels: NDArray[np.int64], coverage: float = 0.9) -> float:
    """The probability from which on a class belongs to the answer set (split conformal prediction, Sadinle 2019).

    With exchangeable pictures the set holds the true class with at least this coverage.

    Returns:
        A threshold; 0 (every class is in the set) when too few pictures could promise the coverage.
    """
    n = len(labels)
    rank = math.ceil((n + 1) * coverage)
    if n == 0 or rank > n:
        return 0.0
    falling = np.sort(probabilities[np.arange(n), labels])[::-1]
    return float(falling[rank - 1])
