"""Is one segmenter better than another? Asked of the same pictures, whose confusions are added up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.metrics.segmentation import Counts, block_bootstrap, miou

#: Resamples of the blocks that a difference's standard error is read off.
_ROUNDS = 500


@dataclass(frozen=True)
class MaskComparison:
    """A new model beside an old one.

    Attributes:
        n: pictures that both answered.
        points: gain in mIoU.
        doubt: its standard error, from a bootstrap over groups of pictures that belong together.
    """

    n: int
    points: float
    doubt: float

    @property
    def sum_of_z(self) -> float:
        """The gain in units of its standard error."""
        return self.points / self.doubt if self.n and math.isfinite(self.points) else 0.0

    def __str__(self) -> str:
        """For people."""
        return (
            f"on {self.n} pictures that neither had learned from {100 * self.points:+.1f} ± "
            f"{100 * self.doubt:.1f} points of mIoU"
        )


@dataclass(frozen=True)
class MaskEvidence:
    """Answers to pictures by a model that had not learned from them.

    Attributes:
        counts: SHA-256 of a picture → its pixels by truth and answer, `(K, K)`.
        groups: SHA-256 → what it must stay together with: neighbouring frames, copies.
    """

    counts: Mapping[str, Counts]
    groups: Mapping[str, str]

    @property
    def miou(self) -> float:
        """Of all pictures together; nan without any."""
        return miou(sum(self.counts.values())) if self.counts else math.nan  # type: ignore[arg-type]

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %, by a bootstrap over groups; None where there are fewer than two."""
        if not self.counts:
            return None
        return block_bootstrap(np.stack(list(self.counts.values())), self._blocks(list(self.counts)))

    def beside(self, old: object) -> MaskComparison:
        """This model beside an older one, on the pictures that both have answered."""
        if not isinstance(old, MaskEvidence):
            return MaskComparison(0, 0.0, math.inf)
        names = [name for name in self.counts if name in old.counts]
        if not names:
            return MaskComparison(0, 0.0, math.inf)
        both = np.stack([np.stack([e.counts[n] for n in names]) for e in (self, old)])
        gain = miou(both[0].sum(axis=0)) - miou(both[1].sum(axis=0))
        return MaskComparison(len(names), gain, _doubt(both, self._blocks(names)))

    def _blocks(self, names: list[str]) -> NDArray[np.int64]:
        return np.unique([self.groups[n] for n in names], return_inverse=True)[1].astype(np.int64)


def _doubt(both: Counts, blocks: NDArray[np.int64]) -> float:
    """Standard error of the difference of two mIoUs; of a single block nobody knows it: half a point."""
    sums = np.zeros((2, int(blocks.max()) + 1, *both.shape[2:]), dtype=np.int64)
    for of_model, counts in zip(sums, both, strict=True):
        np.add.at(of_model, blocks, counts)
    if sums.shape[1] < 2:
        return 0.005
    drawn = np.random.default_rng(0).multinomial(sums.shape[1], np.full(sums.shape[1], 1 / sums.shape[1]), _ROUNDS)
    new, old = (np.array([miou(np.tensordot(times, s, axes=1)) for times in drawn]) for s in sums)
    return max(float(np.nanstd(new - old)), 1e-4)
