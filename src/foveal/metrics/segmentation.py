"""Figures of a segmentation, from counts that can be added up over pictures.

Masks are positions in the classes; `VOID` in the truth is counted nowhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Counts = NDArray[np.int64]

#: Truth that nobody knows.
VOID = 255
#: How far a boundary may lie from the true one, as a share of the picture's diagonal (Csurka et al. 2013).
NEAR = 0.0075
#: Columns of `boundary_counts`.
_ANSWERED_NEAR, _ANSWERED, _TRUE_NEAR, _TRUE = range(4)


def confusion(prediction: Mask, truth: Mask, classes: int) -> Counts:
    """Pixels by truth (rows) and answer (columns), `(K, K)`.

    Args:
        prediction: positions in the classes, any shape.
        truth: of the same shape, with `VOID` where nobody knows.
        classes: K.

    Raises:
        ValueError: when the shapes differ, or a value is no class.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"a prediction of {prediction.shape} can't be counted against a truth of {truth.shape}")
    known = truth != VOID
    rows, columns = truth[known].astype(np.int64), prediction[known].astype(np.int64)
    if len(rows) and max(rows.max(), columns.max()) >= classes:
        raise ValueError(f"{max(rows.max(), columns.max())} is none of the {classes} classes")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def iou(counts: Counts) -> NDArray[np.float64]:
    """Intersection over union of each class, `(K,)`; nan for a class that is neither true nor answered."""
    counts = np.asarray(counts)
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    union = counts.sum(axis=-1) + counts.sum(axis=-2) - hit
    return _share(hit, union)


def miou(counts: Counts) -> float:
    """Mean of `iou` over the classes that occur, as truth or as answer; nan when none does."""
    return _mean(iou(counts))


def pixel_accuracy(counts: Counts) -> float:
    """Share of the known pixels that are right; nan when there are none."""
    return float(_share(np.trace(counts), counts.sum()))


def boundary_counts(prediction: Mask, truth: Mask, classes: int, near: float = NEAR) -> Counts:
    """What the boundary F1 of one picture or of many is made of.

    A pixel lies on its class's boundary when one of its four neighbours is of another class; void is no other
    class, and what is answered there is left out.

    Args:
        prediction, truth: `(H, W)`.
        classes: K.
        near: the tolerance as a share of the diagonal; a tolerance of under one pixel is one pixel.

    Returns:
        `(K, 4)`: answered boundary pixels near the true boundary, answered ones, true ones near the answered
        boundary, true ones.
    """
    radius = max(1.0, near * float(np.hypot(*truth.shape)))
    answered = np.where(truth == VOID, VOID, prediction)
    edges = _edge(answered), _edge(truth)
    counts = np.zeros((classes, 4), dtype=np.int64)
    for c in range(classes):
        ours = np.argwhere(edges[0] & (answered == c))
        theirs = np.argwhere(edges[1] & (truth == c))
        counts[c] = _within(ours, theirs, radius), len(ours), _within(theirs, ours, radius), len(theirs)
    return counts


def boundary_f1(counts: Counts) -> NDArray[np.float64]:
    """Harmonic mean of the boundary's precision and recall for each class, `(K,)`; nan where neither has one.

    The counts of several pictures may be added up first; Csurka et al. 2013 ("What is a good evaluation measure
    for semantic segmentation?") take the mean over pictures instead.
    """
    counts = np.asarray(counts)
    precision = _share(counts[..., _ANSWERED_NEAR], counts[..., _ANSWERED])
    recall = _share(counts[..., _TRUE_NEAR], counts[..., _TRUE])
    both = np.nan_to_num(precision) + np.nan_to_num(recall)
    f1 = 2 * np.nan_to_num(precision * recall) / np.where(both > 0, both, 1)
    return np.where(np.isnan(precision) & np.isnan(recall), np.nan, f1)


def mean_boundary_f1(counts: Counts) -> float:
    """Mean of `boundary_f1` over the classes that have a boundary; nan when none has."""
    return _mean(boundary_f1(counts))


def block_bootstrap(
    counts: Counts,
    blocks: NDArray[np.int64],
    figure: Callable[[Counts], float] = miou,
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Percentile bootstrap, 95 %, that draws whole blocks: neighbouring frames of a video are near-copies, and
    drawn one by one they would claim more than they know (Künsch 1989).

    Args:
        counts: of each picture, `(N, …)`.
        blocks: which block each picture belongs to, `(N,)`.
        figure: of counts that were added up.
        rounds: resamples.
        seed: of the resampling.

    Returns:
        None where there are fewer than two blocks, which say nothing about how far they vary.
    """
    found = block_intervals(counts, blocks, figure, rounds=rounds, seed=seed)
    return None if found is None else (float(found[0]), float(found[1]))


def block_intervals(
    counts: Counts,
    blocks: NDArray[np.int64],
    figures: Callable[[Counts], float | NDArray[np.float64]],
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> NDArray[np.float64] | None:
    """The same of several figures at once, as `iou` gives one a class: `(2, …)`, ends below and above."""
    names, place = np.unique(blocks, return_inverse=True)
    if len(names) < 2:
        return None
    sums = np.zeros((len(names), *counts.shape[1:]), dtype=np.int64)
    np.add.at(sums, place, counts)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), rounds)
    values = np.array([figures(np.tensordot(times, sums, axes=1)) for times in drawn])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class that is nowhere has no figure
        found: NDArray[np.float64] = np.nanpercentile(values, [2.5, 97.5], axis=0)
    return found


def _edge(mask: Mask) -> NDArray[np.bool_]:
    """Pixels with a neighbour, above, below, left or right, of another class that is not void."""
    edge = np.zeros(mask.shape, dtype=bool)
    for axis in (0, 1):
        one = np.moveaxis(mask, axis, 0)
        differs = (one[1:] != one[:-1]) & (one[1:] != VOID) & (one[:-1] != VOID)
        along = np.moveaxis(edge, axis, 0)
        along[1:] |= differs
        along[:-1] |= differs
    return edge


def _within(points: NDArray[np.int64], others: NDArray[np.int64], radius: float) -> int:
    """How many points lie within the radius of one of the others."""
    if not len(points) or not len(others):
        return 0
    # The bound is exclusive.
    from scipy.spatial import KDTree  # half a second to import, and only masks need it

    distance, _ = KDTree(others).query(points, distance_upper_bound=np.nextafter(radius, np.inf))
    return int(np.isfinite(distance).sum())


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    whole = np.asarray(whole)
    return np.where(whole > 0, np.asarray(part) / np.where(whole > 0, whole, 1), np.nan)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
