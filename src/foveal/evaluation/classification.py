"""Predicted labels against targets: figures, and the mistakes that the report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.evaluation.confusion import confusion_svg
from foveal.evaluation.thumbnails import thumbnail
from foveal.metrics import classification_figures


@dataclass(frozen=True)
class Mistake:
    """One image whose predicted label is not its own."""

    path: str
    label: str
    prediction: str
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """As `evaluate --json` prints it."""
        return {
            "path": self.path,
            "label": self.label,
            "prediction": self.prediction,
            "probability": self.probability,
        }


#: Mistakes that the report shows.
_SHOWN = 24


@dataclass(frozen=True)
class Measurement:
    """Figures, and the mistakes, the most confident first."""

    figures: dict[str, Any]
    mistakes: list[Mistake]
    template: str = field(default="labels", init=False)

    def shown(self) -> dict[str, Any]:
        """The variables of its templates."""
        classes = [row["label"] for row in self.figures["per_class"]]
        return {
            "mistakes": [(m, thumbnail(m.path)) for m in self.mistakes[:_SHOWN]],
            "more": max(0, len(self.mistakes) - _SHOWN),
            "confusion": confusion_svg(self.figures["confusion"], classes) if self.figures["n"] else "",
        }


def measure(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    paths: Sequence[str],
    classes: Sequence[str],
    *,
    set_threshold: float | None = None,
) -> Measurement:
    """Figures of `(N, K)` probabilities against `(N,)` labels; of prediction sets, where they have a threshold."""
    figures = classification_figures(probabilities, labels, classes, set_threshold=set_threshold)
    figures["classes_not_tested"] = [row["label"] for row in figures["per_class"] if not row["n"]]
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels) if len(labels) else np.zeros(0, dtype=int)
    mistakes = [
        Mistake(
            paths[i],
            classes[labels[i]],
            classes[int(probabilities[i].argmax())],
            float(probabilities[i].max()),
        )
        for i in wrong.tolist()
    ]
    return Measurement(figures, sorted(mistakes, key=lambda m: -m.probability))
