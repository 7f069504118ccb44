"""The measurements of a study, by arm, measure and seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.studies.framework.design import Contrast
from foveal.studies.framework.plot_data import Point, Series

#: Two-sided error of the intervals that are drawn and tabulated.
ALPHA = 0.05

Row = Mapping[str, Any]
Values = NDArray[np.float64]


class Results:
    """Rows of measurements, restricted to the seeds that every arm has finished.

    Args:
        rows: `{"arm", "seed", "seconds", "measures": {name: value}}`.
        arms: names of all arms.
    """

    def __init__(self, rows: Iterable[Row], arms: Sequence[str]) -> None:
        self._measures = {(r["arm"], int(r["seed"])): r["measures"] for r in rows}
        started = sorted({seed for _, seed in self._measures})
        self.arms = tuple(arms)
        self.seeds = [seed for seed in started if all((arm, seed) in self._measures for arm in arms)]

    def has(self, arm: str, measure: str) -> bool:
        """Whether an arm has this measure for every seed."""
        return bool(self.seeds) and all(self._measures[arm, seed].get(measure) is not None for seed in self.seeds)

    def of(self, arm: str, measure: str) -> Values:
        """`(n_seeds,)`, in the order of `seeds`."""
        return np.array([self._measures[arm, seed][measure] for seed in self.seeds], dtype=float)

    def values(self, contrast: Contrast) -> Values:
        """A contrast's value for each seed, `(n_seeds,)`; for a ratio its logarithm."""
        total = np.zeros(len(self.seeds))
        for weight, arm, measure in contrast.terms:
            values = self.of(arm, measure)
            total += weight * (np.log(values) if contrast.ratio else values)
        return total

    def point(self, x: float | str, arm: str, measure: str) -> Point:
        """The mean over the seeds with its 95 % interval, for drawing."""
        values = self.of(arm, measure)
        low, high = t_interval(values)
        return Point(x, float(values.mean()) if len(values) else math.nan, low, high, len(values))

    def curve(self, name: str, arm: str, places: Mapping[float, str]) -> Series:
        """A line through an arm's measures; `places` maps x to the name of a measure."""
        return Series(name, tuple(self.point(x, arm, m) for x, m in places.items() if self.has(arm, m)))


def t_interval(values: Values, alpha: float = ALPHA) -> tuple[float | None, float | None]:
    """Student's interval for the mean; `(None, None)` for fewer than two values."""
    n = len(values)
    if n < 2:
        return None, None
    mean, half = float(values.mean()), half_width(n, float(values.std(ddof=1)), alpha)
    return mean - half, mean + half


def half_width(n: int, sd: float, alpha: float) -> float:
    """Half the width of Student's interval for a mean of `n` values."""
    from scipy import stats

    return float(stats.t.ppf(1 - alpha / 2, n - 1) * sd / math.sqrt(n))
