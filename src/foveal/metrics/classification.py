"""Figures of a classifier on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.metrics.calibration import in_sets
from foveal.metrics.intervals import wilson, with_variance
from foveal.metrics.reliability import calibration_error_interval, expected_calibration_error, reliability

Array = NDArray[np.float32]
Labels = NDArray[np.int64]


def classification_figures(
    probabilities: Array,
    labels: Labels,
    classes: Sequence[str],
    *,
    set_threshold: float | Array | None = None,
    effect: float = 1.0,
) -> dict[str, Any]:
    """All figures of one evaluation, as `summary.json` shows them.

    Args:
        probabilities: `(N, K)`.
        labels: `(N,)`, 0 … K-1.
        classes: K names.
        set_threshold: of prediction sets, one or `(N, 1)`; None: there are none.
        effect: by which variances are larger than those of N independent images.

    Returns:
        Without images, `n` is 0 and every figure is None.
    """
    n, k = len(labels), len(classes)
    matrix = confusion(labels, probabilities.argmax(axis=1) if n else labels, k)
    correct = int(np.trace(matrix))
    per_class = [{"label": c, **row} for c, row in zip(classes, per_class_figures(matrix, effect), strict=True)]
    true = probabilities[np.arange(n), labels].astype(np.float64)
    return {
        "n": n,
        "accuracy": correct / n if n else None,
        "accuracy_ci95": wilson(correct / effect, n / effect),
        "balanced_accuracy": balanced_accuracy(matrix),
        "balanced_accuracy_ci95": balanced_accuracy_interval(matrix, effect),
        "macro_f1": macro_f1(matrix) if n else None,
        "macro_f1_ci95": macro_f1_interval(matrix, effect),
        "log_loss": float(-np.log(np.maximum(true, 1e-7)).mean()) if n else None,
        "ece": expected_calibration_error(probabilities, labels),
        "ece_ci95": calibration_error_interval(probabilities, labels),
        "reliability": reliability(probabilities, labels),
        "sets": set_figures(probabilities, labels, set_threshold, effect)
        if n and set_threshold is not None
        else None,
        "per_class": per_class,
        "confusion": matrix.tolist(),
    }


def set_figures(
    probabilities: Array, labels: Labels, threshold: float | Array, effect: float = 1.0
) -> dict[str, Any]:
    """How often the prediction sets hold the true class, and their mean size."""
    inside = in_sets(probabilities, threshold)
    n, held = len(labels), int(inside[np.arange(len(labels)), labels].sum())
    return {
        "coverage": held / n,
        "coverage_ci95": wilson(held / effect, n / effect),
        "mean_size": float(inside.sum(axis=1).mean()),
    }


def confusion(labels: Labels, predictions: Labels, k: int) -> NDArray[np.int64]:
    """`(K, K)`: rows are true classes, columns predictions."""
    return np.bincount(labels * k + predictions, minlength=k * k).reshape(k, k)


def per_class_figures(matrix: NDArray[np.int64], effect: float = 1.0) -> list[dict[str, Any]]:
    """Precision and recall with their intervals, and F1, for each class; None where undefined."""
    rows = []
    for i, hit in enumerate(np.diag(matrix).tolist()):
        support, predicted = int(matrix[i].sum()), int(matrix[:, i].sum())
        rows.append(
            {
                "n": support,
                "precision": hit / predicted if predicted else None,
                "precision_ci95": wilson(hit / effect, predicted / effect),
                "recall": hit / support if support else None,
                "recall_ci95": wilson(hit / effect, support / effect),
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


def balanced_accuracy_interval(matrix: NDArray[np.int64], effect: float = 1.0) -> tuple[float, float] | None:
    """95 %, valid at 0 and 100 % as well: a stratified mean of recalls; None without images.

    The variance is that of smoothed recalls, see `_smoothed`, and the interval that of `with_variance`.
    """
    figure = balanced_accuracy(matrix)
    if figure is None:
        return None
    support, shares, weights = _smoothed(matrix)
    seen = support > 0
    recalls = np.diag(shares)[seen]
    variance = (weights[seen] * recalls * (1 - recalls) / support[seen]).sum() / seen.sum() ** 2
    return with_variance(figure, float(recalls.mean()), effect * float(variance))


def macro_f1_interval(matrix: NDArray[np.int64], effect: float = 1.0) -> tuple[float, float] | None:
    """95 %, valid at 0 and 100 % as well; None without images.

    The variance is by linearisation (Takahashi et al. 2022, "Confidence interval for micro-averaged F1 and
    macro-averaged F1 scores"), at a smoothed confusion matrix, see `_smoothed`; the interval is that of
    `with_variance`.
    """
    if not matrix.sum():
        return None
    support, shares, weights = _smoothed(matrix)
    expected = support[:, None] * shares
    total = support + expected.sum(axis=0)
    seen = matrix.sum(axis=0) + matrix.sum(axis=1) > 0
    each = np.where(seen, 2 * np.diag(expected) / np.maximum(total, 1e-12), 0.0)
    per_image = np.where(seen, each / np.maximum(total, 1e-12), 0.0)
    influence = -(per_image[:, None] + per_image[None, :])  # of one more image on the sum of F1
    np.fill_diagonal(influence, np.where(seen, 2 * (1 - each) / np.maximum(total, 1e-12), 0.0))
    variance = (weights[:, None] * expected * influence**2).sum() / seen.sum() ** 2
    figure = macro_f1(matrix)
    unbiased = min(1.0, max(0.0, figure - _bias_of_macro_f1(matrix)))
    ends = with_variance(unbiased, float(each[seen].mean()), effect * float(variance))
    return None if ends is None else (min(ends[0], figure), max(ends[1], figure))


def _bias_of_macro_f1(matrix: NDArray[np.int64]) -> float:
    """By the jackknife (Quenouille 1956): with a few images in each class F1 is too low on average."""
    hits, total = np.diag(matrix).astype(np.float64), matrix.sum(axis=0) + matrix.sum(axis=1)
    each = 2 * hits / np.maximum(total, 1)
    missed = np.where(total > 1, 2 * hits / np.maximum(total - 1, 1), each)  # without one of its errors
    fewer = np.where(total > 2, 2 * (hits - 1) / np.maximum(total - 2, 1), each)  # without one that is right
    errors = total - 2 * hits
    changes = (errors * (missed - each)).sum() + (hits * (fewer - each)).sum()
    n = matrix.sum()
    return float((n - 1) / n * changes / (total > 0).sum())


def _smoothed(
    matrix: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Images of each class `(K,)`, estimated shares of predictions `(K, K)`, and weights of variances `(K,)`.

    Each class has one more image, which is right with the accuracy over all classes: none is at 0 or 100 %. A
    variance estimated from such shares is too small by a known factor, one by the weight.
    """
    k, support = len(matrix), matrix.sum(axis=1).astype(np.float64)
    accuracy = (np.trace(matrix) + 0.5) / (matrix.sum() + 1)
    prior = np.full((k, k), (1 - accuracy) / max(1, k - 1))
    np.fill_diagonal(prior, accuracy)
    shares = (matrix + prior) / (support + 1)[:, None]
    return support, shares, (support + 1) ** 2 / ((support + 1) ** 2 - support)
