"""Folds for cross-validation that keep groups whole."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FOLDS = 5


def stratified_folds(
    strata: NDArray[np.int64], groups: Sequence[str], seed: int, *, most: int = FOLDS, rare: bool = False
) -> NDArray[np.int64] | None:
    """Fold numbers `(N,)`, whole groups in one fold, stratified by each group's first member.

    Args:
        strata: `(N,)`, 0 … S-1.
        groups: N names; equal names stay together.
        seed: of the shuffling.
        most: folds at most.
        rare: whether a stratum may have fewer groups than there are folds: then some folds hold none of it.
            Otherwise the smallest stratum limits the number of folds.

    Returns:
        None when some stratum has fewer than two groups.
    """
    from sklearn.model_selection import StratifiedKFold  # slow to import

    names, first, member_of = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    if not len(names):
        return None
    leaders = strata[first]
    sizes = np.bincount(leaders, minlength=int(strata.max()) + 1)
    count = min(most, int(sizes.max() if rare else sizes.min()))
    if count < 2 or sizes.min() < 2:
        return None
    folds = np.zeros(len(names), dtype=np.int64)
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strata with fewer groups than folds, which were asked for
        for k, (_, held_out) in enumerate(splitter.split(leaders, leaders)):
            folds[held_out] = k
    result: NDArray[np.int64] = folds[member_of]
    return result
