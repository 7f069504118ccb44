"""Iterative stratification: parts of a data set in which every label is about as frequent as in all of it.

Sechidis, Tsoumakas, Vlahavas 2011, "On the Stratification of Multi-Label Data": the label with the fewest images left
is dealt out first, each image to the part that lacks most of it. Here what is dealt out is groups of images of any
size, which PyPI's `iterative-stratification` does not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def iterative_stratification(
    counts: NDArray[np.int64], sizes: NDArray[np.int64], shares: Sequence[float]
) -> NDArray[np.int64]:
    """The part of each group, `(G,)`; a pure function of its arguments.

    Args:
        counts: `(G, L)`, in how many images of each group each label occurs. Of groups that are alike in a label, the
            first is dealt out first.
        sizes: `(G,)`, images of each group.
        shares: of each of the P parts; they need not sum to 1.
    """
    columns = np.column_stack([counts, sizes]).astype(np.int64)  # the last for images that no label decides about
    wanted = np.outer(np.asarray(shares, dtype=np.float64) / sum(shares), columns.sum(axis=0))
    parts = np.full(len(columns), -1, dtype=np.int64)
    left = columns.sum(axis=0)
    while (parts < 0).any():
        labels = np.flatnonzero(left[:-1] > 0)
        label = int(labels[left[labels].argmin()]) if len(labels) else columns.shape[1] - 1
        open_groups = np.flatnonzero((parts < 0) & (columns[:, label] > 0))
        for group in open_groups[np.argsort(-columns[open_groups, label], kind="stable")].tolist():
            lacking = np.round(wanted[:, label], 9)
            best = np.flatnonzero(lacking == lacking.max())
            part = int(best[np.round(wanted[best, -1], 9).argmax()])
            parts[group] = part
            wanted[part] -= columns[group]
            left -= columns[group]
    return parts
