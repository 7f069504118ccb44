"""Is one model of several labels for each image better than another? Judged as `compare` does it for one label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.targets.label_sets import LabelSets
from foveal.metrics.multi_label import fit_binary_temperature, sigmoid
from foveal.training.compare import Comparison, Gain, LabelEvidence

_LEAST = 1e-6


@dataclass(frozen=True)
class LabelSetEvidence(LabelEvidence):
    """Predicted labels of images that may have several; the target of an image is 1 for each label it has, `(L,)`."""

    @property
    def tallies(self) -> NDArray[np.int64]:
        """As `LabelSets.tally`."""
        logits = np.stack(list(self.logits.values()))
        targets, target = self._targets(list(self.logits)), LabelSets()
        return target.tally(target.predict(logits), targets, [str(k) for k in range(logits.shape[1])])

    def compare_to(self, old: Any) -> Comparison:  # noqa: ANN401
        """By the share of right decisions and by log-loss, each model at its own best temperature; images are units."""
        names = [name for name in self.logits if name in old.logits] if isinstance(old, LabelSetEvidence) else []
        if not names:
            return Comparison(0)
        targets = self._targets(names)
        right, loss = [], []
        for evidence in (self, old):
            logits = np.stack([evidence.logits[name] for name in names])
            p = sigmoid(logits, fit_binary_temperature(logits, targets)).astype(np.float64)
            right.append(((p >= 0.5) == targets).mean(axis=1))
            of_truth = np.where(targets == 1, p, 1 - p)
            loss.append(-np.log(np.maximum(of_truth, _LEAST)).mean(axis=1))
        points, nats = right[0] - right[1], loss[1] - loss[0]
        # One decision is the least that the share can differ by, so its standard error is never smaller.
        points_error = max(float(points.std()) / math.sqrt(len(names)), 1 / targets.size)
        nats_error = max(float(nats.std()) / math.sqrt(len(names)), 1e-4)
        return Comparison(
            len(names),
            (
                Gain("right decisions", float(points.mean()), points_error, "points"),
                Gain("log-loss", float(nats.mean()), nats_error),
            ),
        )

    def _targets(self, names: list[str]) -> NDArray[np.int64]:
        return np.array([self.labels[name] for name in names], dtype=np.int64)
