"""A model's answers on labelled pictures, as figures and as pictures to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.metrics import classification_figures


@dataclass(frozen=True)
class Answered:
    """One picture with its label and the model's answer."""

    path: str
    label: str
    answer: str
    probability: float


@dataclass(frozen=True)
class Measurement:
    """Figures, and the mistakes behind them, the most confident first."""

    figures: dict[str, Any]
    mistakes: list[Answered]


def measure(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    paths: Sequence[str],
    classes: Sequence[str],
) -> Measurement:
    """Figures of `(N, K)` probabilities against `(N,)` labels."""
    figures = classification_figures(probabilities, labels, classes)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels) if len(labels) else np.zeros(0, dtype=int)
    answered = [
        Answered(
            paths[i],
            classes[labels[i]],
            classes[int(probabilities[i].argmax())],
            float(probabilities[i].max()),
        )
        for i in wrong.tolist()
    ]
    return Measurement(figures, sorted(answered, key=lambda a: -a.probability))
