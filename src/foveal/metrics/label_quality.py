"""How far each label is to be believed, by predictions of models that did not learn from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelQuality:
    """What predictions say of N labels.

    Attributes:
        scores: `(N,)`, 0 to 1; low where the label is likely to be wrong.
        flagged: `(N,)`, whether it is taken to be wrong.
    """

    scores: NDArray[np.float64]
    flagged: NDArray[np.bool_]

    def order(self) -> NDArray[np.int64]:
        """Positions of all labels, from the least credible."""
        return np.argsort(self.scores, kind="stable")


def label_quality(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> LabelQuality:
    """By confident learning (Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels").

    Args:
        probabilities: `(N, K)`, out of fold.
        labels: `(N,)`, 0 … K-1.
    """
    if not len(labels):
        return LabelQuality(np.zeros(0), np.zeros(0, dtype=bool))
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    # cleanlab takes classes that all occur.
    present, dense = np.unique(labels, return_inverse=True)
    rows = np.maximum(probabilities[:, present].astype(np.float64), 1e-12)
    rows /= rows.sum(axis=1, keepdims=True)
    if len(present) < 2:
        return LabelQuality(np.ones(len(labels)), np.zeros(len(labels), dtype=bool))
    scores = get_label_quality_scores(dense, rows, method="normalized_margin")
    flagged = find_label_issues(dense, rows, n_jobs=1)
    return LabelQuality(np.asarray(scores, dtype=np.float64), np.asarray(flagged, dtype=bool))
