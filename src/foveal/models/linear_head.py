"""A linear head on frozen features, as a value. `training.linear_head` fits one; prediction only applies it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


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
