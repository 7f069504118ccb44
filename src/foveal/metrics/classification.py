"""Figures of a classifier on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.metrics.intervals import bootstrap, wilson

Array = NDArray[np.float32]
Labels = NDArray[np.int64]


def classification_figures(probabilities: Array, labels: Labels, classes: Sequence[str]) -> dict[str, Any]:
    """All figures of one evaluation, as `summary.json` shows them.

    Args:
        probabilities: `(N, K)`.
        labels: `(N,)`, 0 … K-1.
        classes: K names.

    Returns:
        Without images, `n` is 0 and every figure is None.
    """
    n, k = len(labels), len(classes)
    matrix = confusion(labels, probabilities.argmax(axis=1) if n else labels, k)
    correct = int(np.trace(matrix))
    per_class = [{"label": c, **row} for c, row in zip(classes, per_class_figures(matrix), strict=True)]
    true = probabilities[np.arange(n), labels].astype(np.float64)
    predictions = probabilities.argmax(axis=1) if n else labels
    return {
        "n": n,
        "accuracy": correct / n if n else None,
        "accuracy_ci95": wilson(correct, n),
        "balanced_accuracy": balanced_accuracy(matrix),
        "macro_f1": macro_f1(matrix) if n else None,
        "macro_f1_ci95": bootstrap(lambda i: macro_f1(confusion(labels[i], predictions[i], k)), n),
        "log_loss": float(-np.log(np.maximum(true, 1e-7)).mean()) if n else None,
        "ece": expected_calibration_error(probabilities, labels),
        "per_class": per_class,
        "confusion": matrix.tolist(),
    }


def confusion(labels: Labels, predictions: Labels, k: int) -> NDArray[np.int64]:
    """`(K, K)`: rows are true classes, columns predictions."""
    return np.bincount(labels * k + predictions, minlength=k * k).reshape(k, k)


def per_class_figures(matrix: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and the interval of the recall for each class; None where undefined."""
    rows = []
    for i, hit in enumerate(np.diag(matrix).tolist()):
        support, predicted = int(matrix[i].sum()), int(matrix[:, i].sum())
        rows.append(
            {
                "n": support,
                "precision": hit / predicted if predicted else None,
                "recall": hit / support if support else None,
                "recall_ci95": wilson(hit, support),
                "f1": 2 * hit / (support + predicted) if support + predicted else None,
            }
        )
    return rows


def balanced_accuracy(matrix: NDArray[np.int64]) -> float | None:
    """Mean recall over the classes that occur."""
    support = matrix.sum(axis=1)
    seen = support > 0
    return float((np.diag(matrix)[seen] / support[seen]).mean()) if seen.any() else None


def macro_f1(matrix: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that occur, as target or as prediction (as in scikit-learn)."""
    total = matrix.sum(axis=0) + matrix.sum(axis=1)
    seen = total > 0
    return float((2 * np.diag(matrix)[seen] / total[seen]).mean())


def expected_calibration_error(probabilities: Array, labels: Labels, bins: int = 15) -> float | None:
    """Mean gap between confidence and accuracy over equal-width bins (Naeini 2015; Guo 2017)."""
    if len(labels) == 0:
        return None
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(which, weights=confidence - right, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))
