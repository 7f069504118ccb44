"""A model's answers on labelled pictures, as figures and as pictures to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.measure.confusion import confusion_svg
from foveal.measure.pictures import thumbnail
from foveal.metrics import classification_figures


@dataclass(frozen=True)
class Answered:
    """One picture with its label and the model's answer."""

    path: str
    label: str
    answer: str
    probability: float


#: Mistakes that the report shows.
_SHOWN = 24


@dataclass(frozen=True)
class Measurement:
    """Figures, and the mistakes behind them, the most confident first."""

    figures: dict[str, Any]
    mistakes: list[Answered]
    template: str = field(default="labels", init=False)

    def shown(self) -> dict[str, Any]:
        """What the report's template is given."""
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
