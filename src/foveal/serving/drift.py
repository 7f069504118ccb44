"""Do the images of today look like those of the training? The scores are compared, window by window.

Each window of images is compared with the validation images by a permutation test: the statistic is the largest
difference between the two cumulative histograms of scores (Kolmogorov and Smirnov's), and its distribution is that of
random divisions of all these scores into two parts of the same sizes. Where both come from one source, an alarm has
a probability of at most `FALSE_ALARMS` for each window, whatever the source and however few bins are filled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveal.metrics.calibration import SCORE_BOUNDS, score_histogram
from foveal.serving.schemas import Drift, ImageAnswer

#: Images of a window.
WINDOW = 200
#: The probability of an alarm for a window of images that are like the validation images.
FALSE_ALARMS = 0.01
#: Random divisions: with 999 the smallest p-value is 0.001.
_DIVISIONS = 999
#: Below so many validation images nothing is compared.
_FEWEST = 50

Counts = NDArray[np.int64]


class DriftWatch:
    """Counts the scores of answers, and compares each window when it is full.

    Args:
        validation: the histogram of scores at training time, as `score_histogram` gives it; None: not known.
        window: images of a window.
        seed: of the random divisions.
    """

    def __init__(self, validation: Sequence[int] | None, *, window: int = WINDOW, seed: int = 0) -> None:
        known = validation is not None and len(validation) == len(SCORE_BOUNDS) + 1 and sum(validation) >= _FEWEST
        self._expected = np.asarray(validation, dtype=np.int64) if known else None
        self._size, self._random = window, np.random.default_rng(seed)
        self._scores: list[float] = []
        self._images = self._unknown = self._windows = self._alarms = 0
        self._last: Counts | None = None
        self._p: float | None = None

    def add(self, answer: ImageAnswer) -> None:
        """Count an answer; those without a probability do not count."""
        if answer.probability is None:
            return
        self._images += 1
        self._unknown += bool(answer.unknown)
        self._scores.append(answer.probability)
        if len(self._scores) == self._size:
            self._last = np.asarray(score_histogram(np.asarray(self._scores)), dtype=np.int64)
            self._scores.clear()
            self._windows += 1
            if self._expected is not None:
                self._p = p_value(self._last, self._expected, self._random)
                self._alarms += self._p <= FALSE_ALARMS

    def report(self) -> Drift:
        """What is known so far."""
        return Drift(
            images=self._images,
            unknown=self._unknown,
            window=self._size,
            windows=self._windows,
            alarms=int(self._alarms),
            false_alarm_rate=FALSE_ALARMS,
            bounds=SCORE_BOUNDS,
            validation=None if self._expected is None else tuple(int(n) for n in self._expected),
            last_window=None if self._last is None else tuple(int(n) for n in self._last),
            p_value=self._p,
            alarm=self._p is not None and self._p <= FALSE_ALARMS,
        )


def p_value(a: Counts, b: Counts, random: np.random.Generator, divisions: int = _DIVISIONS) -> float:
    """The share of random divisions that differ as much as two histograms do, these two counted in.

    Args:
        a, b: counts in the same bins, `(bins,)`.
        random: of the divisions.
        divisions: how many.
    """
    both = a + b
    drawn = random.multivariate_hypergeometric(both, int(a.sum()), size=divisions)
    differences = _difference(drawn, both - drawn)
    return float((1 + np.count_nonzero(differences >= _difference(a, b) - 1e-12)) / (1 + divisions))


def _difference(a: Counts, b: Counts) -> NDArray[np.float64]:
    """The largest difference between cumulative shares, of each row."""
    shares = (counts.cumsum(axis=-1) / counts.sum(axis=-1, keepdims=True) for counts in (a, b))
    first, second = shares
    result: NDArray[np.float64] = np.abs(first - second).max(axis=-1)
    return result
