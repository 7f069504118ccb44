"""How the accuracy grows with the number of training images, and what twice as many would give.

Several functional forms are fitted to the errors at nested shares of the images; none of them is right everywhere
(Viering and Loog 2023, "The shape of learning curves: a review"; Mohr et al. 2022, "LCDB 1.0"). What they predict
together is a mixture, weighted by how well each fits, over a bootstrap of the groups of images. The interval therefore
holds both: what the sample of images leaves open, and what the choice of a form leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.metrics.cross_validation import LEARNING_VARIANCE
from foveal.metrics.intervals import wilson

Numbers = NDArray[np.float64]

#: Bootstrap rounds.
_ROUNDS = 400
#: With fewer errors than this a bootstrap says too little: the interval is at least Wilson's.
_FEW_ERRORS = 5


@dataclass(frozen=True)
class Form:
    """A family of curves, `error = a + b × shape(m, c)`, with a and b not negative.

    Attributes:
        name: of the family.
        shape: of m images, falling in m, at a rate c.
        rates: values of c that are tried, in units of the largest m where they are numbers of images.
        floor: whether a may be more than 0.
        below: whether a may be negative: errors are then cut off at 0.
    """

    name: str
    shape: Callable[[Numbers, float], Numbers]
    rates: tuple[float, ...]
    floor: bool = True
    below: bool = False


_POWERS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.1, 1.35, 1.7, 2.0)
FORMS = (
    Form("power law", lambda m, c: m**-c, _POWERS, floor=False),
    Form("power law with a floor", lambda m, c: m**-c, _POWERS),
    Form("exponential with a floor", lambda m, c: np.exp(-m / c), (0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5)),
    Form("inverse with a floor", lambda m, c: 1 / m, (1.0,)),
    Form("logarithm", lambda m, c: -np.log(m), (1.0,), below=True),
)


@dataclass(frozen=True)
class Extrapolation:
    """The accuracy with another number of training images.

    Attributes:
        images: that number.
        accuracy: expected.
        ci95: its interval.
        forms: (name, weight, accuracy) of each form.
    """

    images: int
    accuracy: float
    ci95: tuple[float, float]
    forms: tuple[tuple[str, float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """As in `summary.json`."""
        forms = [{"name": name, "weight": weight, "accuracy": value} for name, weight, value in self.forms]
        return {"images": self.images, "accuracy": self.accuracy, "ci95": list(self.ci95), "forms": forms}


def extrapolate(
    sizes: Sequence[float], right: NDArray[np.bool_], groups: Sequence[str], images: int, *, seed: int = 0
) -> Extrapolation:
    """What a model of so many images is expected to reach.

    Args:
        sizes: training images at each of J points, rising.
        right: whether each of N images was predicted right at each point by a model that had not seen it, `(J, N)`.
        groups: what each image belongs to, N names.
        images: to extrapolate to.
        seed: of the bootstrap.

    Raises:
        ValueError: with fewer than three points.
    """
    if len(sizes) < 3:
        raise ValueError(f"{len(sizes)} points are too few for a curve")
    member_of = np.unique(np.asarray(groups), return_inverse=True)[1]
    count, n = int(member_of.max()) + 1, right.shape[1]
    wrong = np.stack([np.bincount(member_of, weights=~row, minlength=count) for row in right])
    in_group = np.bincount(member_of, minlength=count).astype(np.float64)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), _ROUNDS)
    times = np.concatenate([np.ones((1, count), dtype=times.dtype), times])  # the first row is the sample itself
    errors = (times @ wrong.T + 0.5) / (times @ in_group + 1)[:, None]
    typical = np.clip(errors[0], 1e-9, 1 - 1e-9)
    variance = typical * (1 - typical) / count
    scale = float(sizes[-1])
    points = np.asarray(sizes, dtype=np.float64) / scale
    predicted, misfits = zip(*(fit(form, points, errors, variance, images / scale) for form in FORMS), strict=True)
    values, misfit = np.stack(predicted, axis=1), np.stack(misfits, axis=1)  # (rounds, forms)
    weights = np.exp(-0.5 * (misfit - misfit.min(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    error = float((weights[0] * values[0]).sum())
    deviations = math.sqrt(LEARNING_VARIANCE) * (values[1:] - error)
    ends = _weighted_quantiles(error + deviations.ravel(), weights[1:].ravel(), (0.025, 0.975))
    low, high = (float(np.clip(1 - end, 0, 1)) for end in reversed(ends))
    misses = int((~right[-1]).sum())
    if misses < _FEW_ERRORS:
        few = wilson((n - misses) * count / n / LEARNING_VARIANCE, count / LEARNING_VARIANCE)
        low, high = (min(low, few[0]), max(high, few[1])) if few else (low, high)
    accuracy = 1 - error
    forms = tuple((f.name, float(weights[0, i]), 1 - float(values[0, i])) for i, f in enumerate(FORMS))
    return Extrapolation(images, accuracy, (min(low, accuracy), max(high, accuracy)), forms)


def fit(form: Form, points: Numbers, errors: Numbers, variance: Numbers, at: float) -> tuple[Numbers, Numbers]:
    """Errors that the best curve of a form gives at one point, and its misfit: both `(R,)`.

    Args:
        form: of the curve.
        points: `(J,)`.
        errors: at these points, in R rounds, `(R, J)`.
        variance: of the errors, `(J,)`; the misfit is in its units.
        at: the point to extrapolate to.
    """
    found, least = np.zeros(len(errors)), np.full(len(errors), np.inf)
    weights = 1 / variance / (1 / variance).sum()
    total = (1 / variance).sum()
    mean = errors @ weights
    for rate in form.rates:
        shape = form.shape(points, rate)
        there = float(form.shape(np.array([at]), rate)[0])
        centre = float(shape @ weights)
        spread = float(((shape - centre) ** 2) @ weights)
        slope = np.maximum(0.0, ((errors - mean[:, None]) * (shape - centre)) @ weights / max(spread, 1e-12))
        floor = mean - slope * centre
        alone = np.maximum(0.0, (errors * shape) @ weights / float((shape**2) @ weights))
        without = np.full(len(errors), not form.floor) | (
            floor < 0 if not form.below else np.zeros(len(errors), bool)
        )
        slope, floor = np.where(without, alone, slope), np.where(without, 0.0, floor)
        misfit = total * (((floor[:, None] + slope[:, None] * shape - errors) ** 2) @ weights)
        better = misfit < least
        found = np.where(better, np.clip(floor + slope * there, 0.0, 1.0), found)
        least = np.where(better, misfit, least)
    return found, least


def _weighted_quantiles(values: Numbers, weights: Numbers, shares: Sequence[float]) -> list[float]:
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return [float(values[order][min(len(values) - 1, int(np.searchsorted(reached, s)))]) for s in shares]
