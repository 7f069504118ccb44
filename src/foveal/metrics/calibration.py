"""Calibrated probabilities and prediction sets, fitted on images that the model was not fitted on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """What images that a model was not fitted on say about it: the validation subset, or each fold in its turn.

    Attributes:
        validation: its figures there, with `n`.
        temperature, set_threshold: see `Manifest`.
    """

    validation: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    set_threshold: float = 0.0


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


def set_threshold(probabilities: Array, labels: NDArray[np.int64], coverage: float = 0.9) -> float:
    """The probability from which on a class is in the prediction set (split conformal prediction, Sadinle 2019).

    With exchangeable images the set contains the true class with at least this coverage.

    Returns:
        A threshold; 0 (every class is in the set) when there are too few images for the coverage.
    """
    n = len(labels)
    rank = math.ceil((n + 1) * coverage)
    if n == 0 or rank > n:
        return 0.0
    falling = np.sort(probabilities[np.arange(n), labels])[::-1]
    return float(falling[rank - 1])
