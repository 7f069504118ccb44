"""Is one model better than another? Judged by predictions for the same images, which neither was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from foveal.data.targets.target import Target
from foveal.data.wording import count_of
from foveal.metrics.calibration import HeldOutLogits, fit_temperature, softmax
from foveal.metrics.segmentation import Counts, miou
from foveal.values import SplitRecord

Array = NDArray[np.float32]

#: From this many training images on a tenth of them is held out instead of a fifth.
_MANY = 2000
#: Bootstrap rounds for the standard error of a difference of two mIoUs.
_ROUNDS = 500
#: Standard error of a difference of mIoUs where there is only one block of images.
_ONE_BLOCK = 0.005


@dataclass(frozen=True)
class Gain:
    """How much better a new model is by one metric.

    Attributes:
        metric: its name.
        value: new minus old, signed so that more is better.
        std_error: of the value.
        unit: for people; empty where the metric has none.
    """

    metric: str
    value: float
    std_error: float
    unit: str = ""

    def __str__(self) -> str:
        """For people."""
        if self.unit == "points":
            return f"{100 * self.value:+.1f} ± {100 * self.std_error:.1f} points of {self.metric}"
        return f"{self.metric} {-self.value:+.3f} ± {self.std_error:.3f}"


@dataclass(frozen=True)
class Comparison:
    """A new model compared with an old one, paired image by image.

    Attributes:
        n: images that both predicted.
        gains: by each metric.
    """

    n: int
    gains: tuple[Gain, ...] = ()

    @property
    def sum_of_z(self) -> float:
        """The gains in units of their standard errors, added up.

        Accuracy alone is too coarse on a few hundred images, and log-loss alone may differ where no prediction
        does.
        """
        return sum(g.value / g.std_error for g in self.gains if math.isfinite(g.value)) if self.n else 0.0

    def __str__(self) -> str:
        """For people."""
        return f"on {count_of(self.n, 'image')} that neither was trained on " + ", ".join(map(str, self.gains))


class Evidence(Protocol):
    """Predictions for images that a model was not trained on."""

    def compare_to(self, old: Any) -> Comparison:  # noqa: ANN401
        """This model compared with an older one, on the images that both predicted; `n` is 0 without any."""
        ...


@dataclass(frozen=True)
class LabelEvidence:
    """Predicted labels.

    Attributes:
        logits: SHA-256 of an image → its row `(K,)`; log-probabilities will do.
        labels: SHA-256 → the true class, as the target encodes it.
    """

    logits: Mapping[str, Array]
    labels: Mapping[str, Any]

    @classmethod
    def of(cls, records: Sequence[SplitRecord], logits: Array, labels: NDArray[np.int64]) -> Self:
        """From rows in the order of the records; exact copies of an image count once."""
        names = [p.record.sha256 for p in records]
        return cls(dict(zip(names, logits, strict=True)), dict(zip(names, labels.tolist(), strict=True)))

    def held_out(self, records: Sequence[SplitRecord]) -> HeldOutLogits:
        """The predictions among these images, to calibrate by."""
        groups = {p.record.sha256: p.group for p in records}
        names = [name for name in self.logits if name in groups]
        return HeldOutLogits(
            np.stack([self.logits[name] for name in names]),
            np.array([self.labels[name] for name in names], dtype=np.int64),
            [groups[name] for name in names],
        )

    @property
    def tallies(self) -> NDArray[np.int64]:
        """As `Labels.tally`: 1 for each image whose predicted label is right, `(N,)`."""
        right = [int(row.argmax()) == self.labels[name] for name, row in self.logits.items()]
        return np.array(right, dtype=np.int64)

    def compare_to(self, old: Any) -> Comparison:  # noqa: ANN401
        """By accuracy and by log-loss, each model at its own best temperature."""
        names = [name for name in self.logits if name in old.logits] if isinstance(old, LabelEvidence) else []
        if not names:
            return Comparison(0)
        labels = np.array([self.labels[name] for name in names], dtype=np.int64)
        rows = np.arange(len(names))
        correct, loss = [], []
        for evidence in (self, old):
            logits = np.stack([evidence.logits[name] for name in names])
            probabilities = softmax(logits, fit_temperature(logits, labels))
            correct.append((logits.argmax(axis=1) == labels).astype(float))
            loss.append(-np.log(np.maximum(probabilities[rows, labels], 1e-6)))
        points, nats = correct[0] - correct[1], loss[1] - loss[0]
        # One image is the least that accuracy can differ by, so its standard error is never smaller.
        accuracy_error = max(float(points.std()) / math.sqrt(len(names)), 1 / len(names))
        loss_error = max(float(nats.std()) / math.sqrt(len(names)), 1e-4)
        return Comparison(
            len(names),
            (
                Gain("accuracy", float(points.mean()), accuracy_error, "points"),
                Gain("log-loss", float(nats.mean()), loss_error),
            ),
        )


@dataclass(frozen=True)
class MaskEvidence:
    """Predicted masks, as confusion counts.

    Attributes:
        counts: SHA-256 of an image → its pixels by true and predicted class, `(K, K)`.
        groups: SHA-256 → the group that it must stay together with: neighbouring frames, copies.
    """

    counts: Mapping[str, Counts]
    groups: Mapping[str, str]

    @property
    def miou(self) -> float:
        """Over all images; nan without any."""
        return miou(self.tallies.sum(axis=0)) if self.counts else math.nan

    @property
    def tallies(self) -> Counts:
        """As `Masks.tally`: the confusion matrix of each image, `(N, K, K)`; of no images `(0, 0, 0)`."""
        return np.stack(list(self.counts.values())) if self.counts else np.zeros((0, 0, 0), dtype=np.int64)

    @property
    def blocks(self) -> list[str]:
        """The group of each image of `tallies`."""
        return [self.groups[name] for name in self.counts]

    def compare_to(self, old: Any) -> Comparison:  # noqa: ANN401
        """By mIoU, with a standard error from a bootstrap over groups."""
        names = [name for name in self.counts if name in old.counts] if isinstance(old, MaskEvidence) else []
        if not names:
            return Comparison(0)
        both = np.stack([np.stack([e.counts[n] for n in names]) for e in (self, old)])
        gain = miou(both[0].sum(axis=0)) - miou(both[1].sum(axis=0))
        return Comparison(len(names), (Gain("mIoU", gain, _std_error(both, self._blocks(names)), "points"),))

    def _blocks(self, names: list[str]) -> NDArray[np.int64]:
        return np.unique([self.groups[n] for n in names], return_inverse=True)[1].astype(np.int64)


def _std_error(both: Counts, blocks: NDArray[np.int64]) -> float:
    """Of the difference of two mIoUs."""
    sums = np.zeros((2, int(blocks.max()) + 1, *both.shape[2:]), dtype=np.int64)
    for of_model, counts in zip(sums, both, strict=True):
        np.add.at(of_model, blocks, counts)
    if sums.shape[1] < 2:
        return _ONE_BLOCK
    drawn = np.random.default_rng(0).multinomial(sums.shape[1], np.full(sums.shape[1], 1 / sums.shape[1]), _ROUNDS)
    new, old = (np.array([miou(np.tensordot(times, s, axes=1)) for times in drawn]) for s in sums)
    return max(float(np.nanstd(new - old)), 1e-4)


def hold_out(records: Sequence[SplitRecord], target: Target, seed: int) -> NDArray[np.bool_]:
    """Which of these training images to hold out, `(N,)`: whole groups, stratified as far as these allow.

    None of them when there are too few.
    """
    folds = target.folds(records, seed, most=10 if len(records) >= _MANY else 5)
    return np.zeros(len(records), dtype=bool) if folds is None else folds == 0
