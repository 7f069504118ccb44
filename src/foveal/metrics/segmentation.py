"""Figures of a segmentation, from counts that can be summed over images.

Masks are positions in the classes; `VOID` in the target is not counted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from foveal.metrics.intervals import wilson

Mask = NDArray[np.uint8]
Counts = NDArray[np.int64]

#: The ignore index: pixels without a class.
VOID = 255
#: How far a boundary may lie from the true one, as a share of the image's diagonal (Csurka et al. 2013).
NEAR = 0.0075
#: Columns of `boundary_counts`.
_PREDICTED_NEAR, _PREDICTED, _TRUE_NEAR, _TRUE = range(4)


def confusion(prediction: Mask, target: Mask, classes: int) -> Counts:
    """Pixels by target (rows) and prediction (columns), `(K, K)`.

    Args:
        prediction: positions in the classes, any shape.
        target: of the same shape, with `VOID` as the ignore index.
        classes: K.

    Raises:
        ValueError: when the shapes differ, or a value is not a class.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"a prediction of {prediction.shape} does not match a target of {target.shape}")
    known = target != VOID
    rows, columns = target[known].astype(np.int64), prediction[known].astype(np.int64)
    if len(rows) and max(rows.max(), columns.max()) >= classes:
        raise ValueError(f"{max(rows.max(), columns.max())} is not one of the {classes} classes")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def iou(counts: Counts) -> NDArray[np.float64]:
    """Intersection over union of each class, `(K,)`; nan for a class that is in neither target nor prediction."""
    counts = np.asarray(counts)
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    union = counts.sum(axis=-1) + counts.sum(axis=-2) - hit
    return _share(hit, union)


def miou(counts: Counts) -> float:
    """Mean of `iou` over the classes that occur, in target or prediction; nan without any."""
    return _mean(iou(counts))


def pixel_accuracy(counts: Counts) -> float:
    """Share of the labelled pixels that are correct; nan without any."""
    return float(_share(np.trace(counts), counts.sum()))


def boundary_counts(prediction: Mask, target: Mask, classes: int, near: float = NEAR) -> Counts:
    """Counts for the boundary F1, which can be summed over images.

    A pixel lies on its class's boundary when one of its four neighbours is of another class; `VOID` is not
    another class, and predictions there are not counted.

    Args:
        prediction, target: `(H, W)`.
        classes: K.
        near: the tolerance as a share of the diagonal; a tolerance of under one pixel is one pixel.

    Returns:
        `(K, 4)`: predicted boundary pixels near the true boundary, predicted ones, true ones near the predicted
        boundary, true ones.
    """
    radius = max(1.0, near * float(np.hypot(*target.shape)))
    predicted = np.where(target == VOID, VOID, prediction)
    edges = _edge(predicted), _edge(target)
    counts = np.zeros((classes, 4), dtype=np.int64)
    for c in range(classes):
        ours = np.argwhere(edges[0] & (predicted == c))
        theirs = np.argwhere(edges[1] & (target == c))
        counts[c] = _within(ours, theirs, radius), len(ours), _within(theirs, ours, radius), len(theirs)
    return counts


def boundary_f1(counts: Counts) -> NDArray[np.float64]:
    """Harmonic mean of the boundary's precision and recall for each class, `(K,)`; nan where neither has one.

    The counts of several images may be summed first; Csurka et al. 2013 ("What is a good evaluation measure
    for semantic segmentation?") take the mean over images instead.
    """
    counts = np.asarray(counts)
    precision = _share(counts[..., _PREDICTED_NEAR], counts[..., _PREDICTED])
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
    """Percentile bootstrap, 95 %, that draws whole blocks: neighbouring frames of a video are
    near-duplicates, and an interval from single frames would be too narrow (Künsch 1989).

    Args:
        counts: of each image, `(N, …)`.
        blocks: which block each image belongs to, `(N,)`.
        figure: of summed counts.
        rounds: resamples.
        seed: of the resampling.

    Returns:
        None with fewer than two blocks, whose spread is unknown.
    """
    interval = block_intervals(counts, blocks, figure, rounds=rounds, seed=seed)
    return None if interval is None else (float(interval[0]), float(interval[1]))


def block_intervals(
    counts: Counts,
    blocks: NDArray[np.int64],
    figures: Callable[[Counts], float | NDArray[np.float64]],
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> NDArray[np.float64] | None:
    """`block_bootstrap` for several figures at once, such as the `iou` of all classes: `(2, …)`, both ends.

    Where all blocks are at 0 or at 100 %, a resample never differs. Then each block in which the figure is known
    counts as one trial that succeeded or failed as a whole, and the interval is Wilson's.
    """
    names, place = np.unique(blocks, return_inverse=True)
    if len(names) < 2:
        return None
    sums = np.zeros((len(names), *counts.shape[1:]), dtype=np.int64)
    np.add.at(sums, place, counts)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), rounds)
    values = np.array([figures(np.tensordot(times, sums, axes=1)) for times in drawn])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class that does not occur has no figure
        ends: NDArray[np.float64] = np.nanpercentile(values, [2.5, 97.5], axis=0)
    trials = (~np.isnan(np.array([np.asarray(figures(block)) for block in sums]))).sum(axis=0)
    for edge in (0.0, 1.0):
        stuck = (ends == edge).all(axis=0) & (trials > 0)
        for place in np.argwhere(stuck):
            at = tuple(place)
            ends[(slice(None), *at)] = wilson(edge * trials[at], trials[at])
    return ends


def _edge(mask: Mask) -> NDArray[np.bool_]:
    """Pixels with a neighbour, above, below, left or right, of another class, `VOID` apart."""
    edge = np.zeros(mask.shape, dtype=bool)
    for axis in (0, 1):
        one = np.moveaxis(mask, axis, 0)
        differs = (one[1:] != one[:-1]) & (one[1:] != VOID) & (one[:-1] != VOID)
        along = np.moveaxis(edge, axis, 0)
        along[1:] |= differs
        along[:-1] |= differs
    return edge


def _within(points: NDArray[np.int64], others: NDArray[np.int64], radius: float) -> int:
    """The number of points within the radius of one of the others."""
    if not len(points) or not len(others):
        return 0
    # The bound is exclusive.
    from scipy.spatial import KDTree  # half a second to import

    distance, _ = KDTree(others).query(points, distance_upper_bound=np.nextafter(radius, np.inf))
    return int(np.isfinite(distance).sum())


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    whole = np.asarray(whole)
    return np.where(whole > 0, np.asarray(part) / np.where(whole > 0, whole, 1), np.nan)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
