"""Is one model better than another? Asked of the same pictures, which neither of them has learned from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.fit.calibration import fit_temperature, softmax
from foveal.fit.head import fold_numbers
from foveal.values import Placed

Array = NDArray[np.float32]

#: From so many training pictures on a tenth of them is held out instead of a fifth.
_MANY = 2000


@dataclass(frozen=True)
class Evidence:
    """Answers to training pictures by a model that had not seen them.

    Attributes:
        logits: SHA-256 of a picture → its row `(K,)`; log-probabilities will do.
        labels: SHA-256 → the true class.
    """

    logits: Mapping[str, Array]
    labels: Mapping[str, int]

    @classmethod
    def of(cls, placed: Sequence[Placed], logits: Array, labels: NDArray[np.int64]) -> Evidence:
        """From rows in the order of the pictures."""
        names = [p.record.sha256 for p in placed]
        return cls(dict(zip(names, logits, strict=True)), dict(zip(names, labels.tolist(), strict=True)))

    @property
    def right(self) -> int:
        """How many of the answers are right."""
        return sum(int(row.argmax()) == self.labels[name] for name, row in self.logits.items())

    def beside(self, old: object) -> Comparison:
        """This model beside an older one, on the pictures that both have answered."""
        return compare(self, old) if isinstance(old, Evidence) else compare(self, Evidence({}, {}))


@dataclass(frozen=True)
class Comparison:
    """A new model beside an old one, paired picture by picture.

    Attributes:
        n: pictures that both answered.
        points: gain in accuracy.
        points_doubt: its standard error.
        nats: gain in log-loss, each model with its own best temperature.
        nats_doubt: its standard error.
    """

    n: int
    points: float
    points_doubt: float
    nats: float
    nats_doubt: float

    @property
    def sum_of_z(self) -> float:
        """Both gains in units of their standard errors. Accuracy alone is too coarse on a few hundred
        pictures, and log-loss alone may differ where no answer does."""
        return self.points / self.points_doubt + self.nats / self.nats_doubt if self.n else 0.0

    def __str__(self) -> str:
        """For people."""
        return (
            f"on {self.n} training pictures that neither had learned from {100 * self.points:+.1f} ± "
            f"{100 * self.points_doubt:.1f} points, log-loss {-self.nats:+.3f} ± {self.nats_doubt:.3f}"
        )


def compare(new: Evidence, old: Evidence) -> Comparison:
    """On the pictures that both have answered."""
    names = [name for name in new.logits if name in old.logits]
    if not names:
        return Comparison(0, 0.0, math.inf, 0.0, math.inf)
    labels = np.array([new.labels[name] for name in names], dtype=np.int64)
    rows = np.arange(len(names))
    right, loss = [], []
    for evidence in (new, old):
        logits = np.stack([evidence.logits[name] for name in names])
        probabilities = softmax(logits, fit_temperature(logits, labels))
        right.append((logits.argmax(axis=1) == labels).astype(float))
        loss.append(-np.log(np.maximum(probabilities[rows, labels], 1e-6)))
    points, nats = right[0] - right[1], loss[1] - loss[0]
    # One picture is the least that accuracy can differ by: so much doubt is always left.
    least = 1 / len(names)
    doubt = max(float(points.std()) / math.sqrt(len(names)), least)
    return Comparison(
        len(names),
        float(points.mean()),
        doubt,
        float(nats.mean()),
        max(float(nats.std()) / math.sqrt(len(names)), 1e-4),
    )


def hold_out(placed: Sequence[Placed], labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which of these training pictures to hold out, `(N,)`: whole groups, near enough stratified; none when there
    are too few."""
    folds = fold_numbers(labels, [p.group for p in placed], seed, most=10 if len(placed) >= _MANY else 5)
    return np.zeros(len(placed), dtype=bool) if folds is None else folds == 0
