"""A bundle of several labels for each image at work: each label that reaches its own threshold is predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foveal.inference.classifier import ClassificationPredictor, Prediction, Probabilities
from foveal.values import Manifest

#: The threshold of a bundle that holds none.
EVEN = 0.5


@dataclass(frozen=True)
class LabelSetPrediction(Prediction):
    """Prediction for one image that may have several labels.

    Attributes:
        labels: those that reach their thresholds, the most probable first; maybe none.
        label, probability: the first of them; None where there is none.
        topk: all classes with their calibrated probabilities, the most probable first.
        set: empty: a set that holds the true class needs that there is one.
    """

    labels: tuple[str, ...] = ()


class MultiLabelPredictor(ClassificationPredictor):
    """As `ClassificationPredictor`; the probabilities `(N, K)` do not sum to 1, and `topk` is always all classes."""

    def _prediction(
        self, name: str, row: Probabilities, outside: np.float32, p_value: np.float64, topk: int
    ) -> LabelSetPrediction:
        classes, thresholds = self.bundle.manifest.classes, thresholds_of(self.bundle.manifest)
        order = np.argsort(-row, kind="stable").tolist()
        given = [k for k in order if row[k] >= thresholds[k]]
        return LabelSetPrediction(
            name,
            label=classes[given[0]] if given else None,
            probability=float(row[given[0]]) if given else None,
            topk=tuple((classes[k], float(row[k])) for k in order),
            labels=tuple(classes[k] for k in given),
        )

    def _failed(self, name: str, error: str) -> LabelSetPrediction:
        return LabelSetPrediction(name, error=error)


def thresholds_of(manifest: Manifest) -> Probabilities:
    """The probability from which on each class is predicted, `(K,)`."""
    return np.array(manifest.thresholds or [EVEN] * len(manifest.classes), dtype=np.float32)
