"""Figures of images that may have several labels: ranking, label by label, and decisions at a threshold for each.

Targets are 1 where an image has a label, `(N, L)`. A figure of a label without any image is not a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.metrics.intervals import wilson, with_variance

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Targets = NDArray[np.int64]

#: Bootstrap rounds, and the most numbers that are held for some of them at once.
_ROUNDS = 500
_AT_ONCE = 4_000_000
#: A threshold is drawn towards one half as by so many further images with the label.
_PRIOR_IMAGES = 10
_LEAST = 1e-7


def sigmoid(logits: NDArray[Any], temperature: float = 1.0) -> Array:
    """Logits of any shape as probabilities."""
    halves = np.tanh(logits.astype(np.float64) / (2 * temperature)) / 2  # exp would overflow
    result: Array = (0.5 + halves).astype(np.float32)
    return result


def binary_log_loss(probabilities: NDArray[Any], targets: Targets) -> float:
    """The mean over images and labels."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), _LEAST, 1 - _LEAST)
    return float(-np.where(targets == 1, np.log(p), np.log1p(-p)).mean())


def fit_binary_temperature(logits: Array, targets: Targets) -> float:
    """The temperature of least binary log-loss over all labels, in [0.05, 20]; 1 for fewer than ten images."""
    if len(targets) < 10:
        return 1.0
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        # The weak prior at 1 decides where a perfect validation score leaves the temperature open.
        return binary_log_loss(sigmoid(logits, math.exp(log_t)), targets) + 0.01 * log_t**2

    return float(math.exp(minimize_scalar(loss, bounds=(math.log(0.05), math.log(20.0)), method="bounded").x))


def best_thresholds(probabilities: Array, targets: Targets) -> Floats:
    """For each label the threshold of highest F1 on held-out images, drawn towards one half where few have it, `(L,)`.

    With few images the best threshold is mostly chance. Of several that are best, the one in the middle of the widest
    gap between two probabilities is taken; one half for a label that all images have, or none.
    """
    thresholds = np.full(targets.shape[1], 0.5)
    for label in range(targets.shape[1]):
        positives = int(targets[:, label].sum())
        if 0 < positives < len(targets):
            best = _best_threshold(probabilities[:, label].astype(np.float64), targets[:, label])
            thresholds[label] = (positives * best + _PRIOR_IMAGES * 0.5) / (positives + _PRIOR_IMAGES)
    return thresholds


def _best_threshold(scores: Floats, targets: Targets) -> float:
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of images with equal scores all or none
    f1 = 2 * np.cumsum(targets[order])[ends] / (ends + 1 + targets.sum())
    next_scores = np.append(ranked, 0.0)[ends + 1]
    gaps = np.where(f1 >= f1.max() - 1e-12, ranked[ends] - next_scores, -1.0)
    widest = int(gaps.argmax())
    return float((ranked[ends[widest]] + next_scores[widest]) / 2)


def average_precisions(targets: Targets, scores: NDArray[Any], weights: Floats | None = None) -> Floats:
    """Average precision of each label, as `sklearn.metrics.average_precision_score` has it, `(L,)`.

    Args:
        targets: `(N, L)`.
        scores: `(N, L)`, more is likelier; of equal ones all or none are retrieved.
        weights: `(B, N)` of the images, for B results `(B, L)` at once.
    """
    rows = np.ones((1, len(targets))) if weights is None else weights
    result = np.full((len(rows), targets.shape[1]), np.nan)
    for label in range(targets.shape[1]):
        order = np.argsort(-scores[:, label], kind="stable")
        ranked = scores[order, label]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else order
        w = rows[:, order]
        found = np.cumsum(w * targets[order, label], axis=1)[:, ends]
        retrieved = np.cumsum(w, axis=1)[:, ends]
        total = found[:, -1] if len(ends) else np.zeros(len(rows))
        steps = np.diff(found, prepend=0.0, axis=1)
        sums = (steps * found / np.maximum(retrieved, 1e-12)).sum(axis=1)
        result[:, label] = np.where(total > 0, sums / np.maximum(total, 1e-12), np.nan)
    return result[0] if weights is None else result


def mean_of(values: Floats) -> float:
    """The mean of those that are numbers; not a number where none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def map_interval(
    targets: Targets, scores: NDArray[Any], groups: Sequence[str] | None = None
) -> tuple[float, float] | None:
    """95 % interval of the mean average precision; None without an image that has a label. See `Intervals`."""
    figure = mean_of(average_precisions(targets, scores))
    if not math.isfinite(figure):
        return None
    drawn = np.concatenate([average_precisions(targets, scores, w) for w in _draws(len(targets), groups)])
    return _interval_of_mean(average_precisions(targets, scores), drawn, targets.sum(axis=0))


def _draws(n: int, groups: Sequence[str] | None) -> list[Floats]:
    """How often each image occurs in each round of a bootstrap over groups, `(rounds, N)` in several parts."""
    names = np.arange(n).astype(str) if groups is None else np.asarray(groups, dtype=str)
    member_of = np.unique(names, return_inverse=True)[1]
    count = int(member_of.max()) + 1
    times = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), _ROUNDS).astype(np.float64)
    rows = max(1, _AT_ONCE // n)
    return [times[i : i + rows][:, member_of] for i in range(0, _ROUNDS, rows)]


def _interval_of_mean(figures: Floats, drawn: Floats, trials: NDArray[Any]) -> tuple[float, float] | None:
    """95 %, of the mean of figures that are numbers; valid where all of them are 0 or 1, too.

    The variance is that of a bootstrap, plus what it does not show: at 0 and at 1 the interval of one figure is
    Wilson's with one trial more than there are.

    Args:
        figures: `(L,)`.
        drawn: `(B, L)`, in each round of the bootstrap.
        trials: `(L,)`, images that each figure is about.
    """
    known = np.isfinite(figures)
    if not known.any():
        return None
    count = trials[known].astype(np.float64)
    typical = float(((count * figures[known] + 0.5) / (count + 1)).mean())
    means = [mean_of(row) for row in drawn[:, known]]
    unseen = (0.5 / (count + 1) ** 2).sum() / known.sum() ** 2
    variance = float(np.nanvar(means)) + float(unseen)
    figure = float(figures[known].mean())
    typical = min(1 - 1e-9, max(1e-9, typical))
    ends = with_variance(figure, typical, variance)
    return None if ends is None else (min(ends[0], figure), max(ends[1], figure))


def multi_label_figures(
    probabilities: Array,
    targets: Targets,
    classes: Sequence[str],
    thresholds: Sequence[float],
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All figures of one evaluation, as `summary.json` shows them.

    Args:
        probabilities: `(N, L)`.
        targets: `(N, L)`.
        classes: L names.
        thresholds: L probabilities from which on a label is predicted.
        groups: which images belong together, N names; None: each stands alone.

    Returns:
        Without images, `n` is 0 and every figure is None. Means are over the labels that occur: in an image for
        average precision, in an image or a prediction for F1, as in scikit-learn.
    """
    n = len(targets)
    predicted = (probabilities >= np.asarray(thresholds, dtype=np.float32)).astype(np.int64)
    hits, false, missed = (
        m.astype(np.float64) for m in (predicted * targets, predicted * (1 - targets), (1 - predicted) * targets)
    )
    precisions = average_precisions(targets, probabilities)
    counts = np.stack([hits.sum(axis=0), false.sum(axis=0), missed.sum(axis=0)])
    micro, each = _f1(counts.sum(axis=1)[:, None]), _f1(counts)
    intervals: dict[str, tuple[float, float] | None] = dict.fromkeys(("map", "micro_f1", "macro_f1"))
    per_label: list[tuple[float, float] | None] = [None] * len(classes)
    if n:
        draws = _draws(n, groups)
        drawn = np.concatenate([average_precisions(targets, probabilities, w) for w in draws])
        drawn_counts = np.stack([np.concatenate([w @ m for w in draws]) for m in (hits, false, missed)])
        support, shown = targets.sum(axis=0), counts.sum(axis=0)
        intervals = {
            "map": _interval_of_mean(precisions, drawn, support),
            "micro_f1": _interval_of_mean(micro, _f1(drawn_counts.sum(axis=2)[..., None]), shown.sum()[None]),
            "macro_f1": _interval_of_mean(each, _f1(drawn_counts), shown),
        }
        per_label = [_interval_of_mean(precisions[[k]], drawn[:, [k]], support[[k]]) for k in range(len(classes))]
    right = int((predicted == targets).all(axis=1).sum())
    return {
        "n": n,
        "map": _number(mean_of(precisions)),
        "map_ci95": intervals["map"],
        "micro_f1": _number(float(micro[0])),
        "micro_f1_ci95": intervals["micro_f1"],
        "macro_f1": _number(mean_of(each)),
        "macro_f1_ci95": intervals["macro_f1"],
        "subset_accuracy": right / n if n else None,
        "subset_accuracy_ci95": wilson(right, n),
        "hamming_loss": float((predicted != targets).mean()) if n else None,
        "log_loss": binary_log_loss(probabilities, targets) if n else None,
        "per_class": [
            {
                "label": name,
                "n": int(targets[:, k].sum()),
                "average_precision": _number(float(precisions[k])),
                "average_precision_ci95": per_label[k],
                **_decisions(*counts[:, k].tolist()),
                "threshold": float(thresholds[k]),
            }
            for k, name in enumerate(classes)
        ],
    }


def _f1(counts: Floats) -> Floats:
    """F1 of hits, false and missed ones `(3, …, L)`; not a number where there is none of them."""
    total = 2 * counts[0] + counts[1] + counts[2]
    return np.where(total > 0, 2 * counts[0] / np.maximum(total, 1e-12), np.nan)


def _decisions(hits: float, false: float, missed: float) -> dict[str, Any]:
    """Of one label. The interval of F1 is Wilson's of the Jaccard index, J: F1 = 2 J / (1 + J)."""
    jaccard = wilson(hits, hits + false + missed)
    return {
        "precision": hits / (hits + false) if hits + false else None,
        "precision_ci95": wilson(hits, hits + false),
        "recall": hits / (hits + missed) if hits + missed else None,
        "recall_ci95": wilson(hits, hits + missed),
        "f1": _number(float(_f1(np.array([hits, false, missed])))),
        "f1_ci95": None if jaccard is None else tuple(2 * j / (1 + j) for j in jaccard),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
