"""Predicted labels against targets: figures, and the mistakes that the report shows."""

from __future__ import annotations

from collections import defaultdict
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


#: Mistakes that the report shows with an image, of one pair of classes and in all, and pairs that it lists.
_OF_A_PAIR, _SHOWN, _PAIRS = 12, 60, 40


@dataclass(frozen=True)
class Pair:
    """The images of one class that were predicted as another.

    Attributes:
        id: of its place in the page.
        label, prediction: the classes.
        count: how many there are.
        shown: the most confident of them, with thumbnails as far as the files are there.
    """

    id: str
    label: str
    prediction: str
    count: int
    shown: list[tuple[Mistake, str | None]]


@dataclass(frozen=True)
class Measurement:
    """Figures, and the mistakes, the most confident first."""

    figures: dict[str, Any]
    mistakes: list[Mistake]
    template: str = field(default="labels", init=False)

    def shown(self) -> dict[str, Any]:
        """The variables of its templates."""
        classes = [row["label"] for row in self.figures["per_class"]]
        place = {label: i for i, label in enumerate(classes)}
        pairs = self._pairs()
        linked = {(place[p.label], place[p.prediction]): p.id for p in pairs}
        return {
            "mistakes": pairs,
            "more": len(self.mistakes) - sum(p.count for p in pairs),
            "confusion": confusion_svg(self.figures["confusion"], classes, linked) if self.figures["n"] else "",
        }

    def _pairs(self) -> list[Pair]:
        """Those with the most confident mistakes."""
        members: dict[tuple[str, str], list[Mistake]] = defaultdict(list)
        for mistake in self.mistakes:
            members[mistake.label, mistake.prediction].append(mistake)
        left, pairs = _SHOWN, []
        for i, ((label, prediction), mistakes) in enumerate(list(members.items())[:_PAIRS]):
            most = min(_OF_A_PAIR, left)
            shown = [(m, thumbnail(m.path)) for m in mistakes[:most]]
            left -= len(shown)
            pairs.append(Pair(f"mistakes-{i}", label, prediction, len(mistakes), shown))
        return pairs


def measure(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    paths: Sequence[str],
    classes: Sequence[str],
    *,
    set_threshold: float | NDArray[np.float32] | None = None,
    effect: float = 1.0,
) -> Measurement:
    """Figures of `(N, K)` probabilities against `(N,)` labels; of prediction sets, where they have a threshold.

    The last two arguments are those of `classification_figures`.
    """
    figures = classification_figures(probabilities, labels, classes, set_threshold=set_threshold, effect=effect)
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
