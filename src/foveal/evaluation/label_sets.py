"""Predicted labels of images that may have several: figures, and the mistakes that the report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.evaluation.thumbnails import thumbnail
from foveal.metrics.multi_label import multi_label_figures

#: Mistakes that the report shows.
_SHOWN = 24


@dataclass(frozen=True)
class LabelSetMistake:
    """An image whose predicted labels are not its own.

    Attributes:
        labels: its own, that the model knows.
        predicted: those that reach their thresholds.
        missed, false: in what they differ.
        surest: the probability that the model gives to the most certain of its wrong decisions.
    """

    path: str
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    missed: tuple[str, ...]
    false: tuple[str, ...]
    surest: float

    def to_dict(self) -> dict[str, Any]:
        """As `evaluate --json` prints it."""
        return asdict(self)


@dataclass(frozen=True)
class LabelSetMeasurement:
    """Figures, and the mistakes, the most certain first."""

    figures: dict[str, Any]
    mistakes: list[LabelSetMistake]
    template: str = field(default="label-sets", init=False)

    def shown(self) -> dict[str, Any]:
        """The variables of its templates."""
        return {
            "mistakes": [(m, thumbnail(m.path)) for m in self.mistakes[:_SHOWN]],
            "more": max(0, len(self.mistakes) - _SHOWN),
        }


def measure_label_sets(
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int64],
    paths: Sequence[str],
    classes: Sequence[str],
    thresholds: NDArray[np.float32],
    groups: Sequence[str] | None = None,
) -> LabelSetMeasurement:
    """Figures of `(N, K)` probabilities against `(N, K)` targets, with decisions at `(K,)` thresholds.

    Args:
        probabilities, targets, thresholds: as said.
        paths: of the N images.
        classes: K names.
        groups: which images belong together, N names; None: each stands alone.
    """
    figures = multi_label_figures(probabilities, targets, classes, thresholds.tolist(), groups)
    figures["classes_not_tested"] = [row["label"] for row in figures["per_class"] if not row["n"]]
    predicted = probabilities >= thresholds
    wrong = predicted != (targets == 1)
    certainty = np.where(predicted, probabilities, 1 - probabilities)

    def named(row: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(classes[k] for k in np.flatnonzero(row).tolist())

    mistakes = [
        LabelSetMistake(
            paths[i],
            labels=named(targets[i] == 1),
            predicted=named(predicted[i]),
            missed=named(wrong[i] & ~predicted[i]),
            false=named(wrong[i] & predicted[i]),
            surest=float(certainty[i][wrong[i]].max()),
        )
        for i in np.flatnonzero(wrong.any(axis=1)).tolist()
    ]
    return LabelSetMeasurement(figures, sorted(mistakes, key=lambda m: -m.surest))
