"""Samples of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foveal.values import SplitRecord


def sample(records: Sequence[SplitRecord], most: int, seed: int) -> list[SplitRecord]:
    """At most so many, drawn at random, in their order."""
    order = np.random.default_rng([seed, 5]).permutation(len(records))[:most]
    return [records[i] for i in sorted(order.tolist())]
