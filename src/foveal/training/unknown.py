"""How a run learns to say "I don't know this": the detector of its model, and a trial with classes held out.

In the trial a detector is fitted as if a class had been forgotten, and is shown that class. The backbone is frozen and
knows nothing of the classes, so that this is what the delivered model would do with such images. The score is chosen by
it; the false alarms are counted on the test subset, which had no part in that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.blas import one_thread
from foveal.clock import Deadline, format_duration
from foveal.data.wording import count_of
from foveal.decisions import UNKNOWN
from foveal.metrics.intervals import wilson
from foveal.metrics.unknown import (
    DEFAULT_SCORE,
    ENTROPY,
    SCORES,
    UnknownDetector,
    entropy_detector,
    fit_detectors,
    groups_needed,
)
from foveal.training.candidate import Candidate
from foveal.training.context import RunContext
from foveal.training.refit import Delivered
from foveal.training.time_budget import UNKNOWN_SECONDS, UNKNOWN_TRIAL_SHARE
from foveal.values import SUBSETS, SplitRecord, UnknownRule

Array = NDArray[np.float32]
Labels = NDArray[np.int64]
PValues = NDArray[np.float64]
#: Features `(N, D)`, labels, folds and groups of N images.
Arrays = tuple[Array, Labels, Labels, list[str]]
#: Class that was held out → score → p-values of its images.
Refused = dict[int, dict[str, PValues]]

#: More images make neither detector nor p-values noticeably better: half a point is the finest rate that is allowed.
MOST_IMAGES = 2000
#: Classes that are held out, at most, and classes that a run needs for it: what is left has to be told apart.
TRIALS, FEWEST_CLASSES = 10, 3


@dataclass(frozen=True)
class Forgotten:
    """A class that was held out.

    Attributes:
        label: its name.
        n: its images.
        refused: share of them that was called unknown.
    """

    label: str
    n: int
    refused: float

    def to_dict(self) -> dict[str, Any]:
        """As in `summary.json`."""
        interval = wilson(self.refused * self.n, self.n)
        return {"class": self.label, "n": self.n, "refused": self.refused, "ci95": interval}


@dataclass(frozen=True)
class UnknownFound:
    """What a run knows of images that are unlike its own.

    Attributes:
        rate: of false alarms, as it was asked for.
        reason: why this score was taken, or why there is no detector.
        detector: None: there is none.
        images: that it was calibrated on.
        trial: of the measured model.
        tested, alarms: images of the test subset, and how many of them were called unknown: false alarms.
    """

    rate: float
    reason: str
    detector: UnknownDetector | None = None
    images: int = 0
    trial: tuple[Forgotten, ...] = ()
    tested: int = 0
    alarms: int = 0

    @property
    def fitted(self) -> tuple[UnknownRule, UnknownDetector] | None:
        """For the bundle."""
        if self.detector is None:
            return None
        rule = UnknownRule(self.detector.score, self.rate, self.images, self.detector.groups)
        return rule, self.detector

    def to_dict(self) -> dict[str, Any]:
        """As `unknown` in `summary.json`."""
        refused = [forgotten.refused for forgotten in self.trial]
        return {
            "score": self.detector.score if self.detector else None,
            "reason": self.reason,
            "false_alarm_rate": self.rate,
            "images": self.images,
            "groups": self.detector.groups if self.detector else 0,
            "groups_needed": groups_needed(self.rate),
            "test": {
                "n": self.tested,
                "false_alarms": self.alarms,
                "rate": self.alarms / self.tested if self.tested else None,
                "ci95": wilson(self.alarms, self.tested),
            },
            "trial": [forgotten.to_dict() for forgotten in self.trial],
            "refused": float(np.mean(refused)) if refused else None,
        }


def find_unknown(measured: Candidate, context: RunContext) -> UnknownFound:
    """The detector of the measured model, with its trial, and its false alarms on the test subset.

    Whether there is one, and its score, are decided once and then obeyed.

    Raises:
        DataError: when images changed since they were first read.
    """
    rate = context.config.unknown_rate
    subject = _Frozen(measured, context) if measured.features is not None else _Network(measured, context)
    trials: list[Refused] = []

    def weighed() -> tuple[str, str]:
        if why_not := subject.why_not():
            return "", why_not
        trials.append(subject.trial())
        return choose_score(trials[0], rate) if subject.scores else (ENTROPY, "a network gives no features")

    score, decisions = context.decisions.settle(UNKNOWN, weighed), context.decisions
    if not score:
        return UnknownFound(rate, decisions.reason(UNKNOWN))
    detector, images = subject.detector(score)
    trial = trials[0] if trials else subject.trial()
    test = subject.p_values(detector)
    return UnknownFound(
        rate,
        decisions.reason(UNKNOWN),
        detector,
        images,
        tuple(
            Forgotten(context.split.classes[label], len(p[score]), float(np.mean(p[score] <= rate)))
            for label, p in trial.items()
        ),
        tested=len(test),
        alarms=int((test <= rate).sum()),
    )


def refit_unknown(
    found: UnknownFound | None, measured: Candidate, delivered: Delivered, context: RunContext
) -> UnknownFound | None:
    """The same of the delivered model, which learned from all images; None where there is none."""
    if found is None or found.detector is None or delivered.trained is None:
        return None
    records = [p for subset in SUBSETS for p in measured.seen[subset]]
    detector, images = _Frozen(measured, context, records).detector(found.detector.score)
    return replace(found, detector=detector, images=images)


class _Frozen:
    """A head on a frozen backbone: the features are at hand."""

    scores = tuple(SCORES)

    def __init__(
        self, measured: Candidate, context: RunContext, records: Sequence[SplitRecord] | None = None
    ) -> None:
        self._measured, self._context = measured, context
        self._records = sample(measured.seen["train"] if records is None else records, context.config.seed)

    def why_not(self) -> str | None:
        """Why there is no detector."""
        context, records = self._context, self._records
        needed, groups = groups_needed(context.config.unknown_rate), len({p.group for p in records})
        if context.target.folds(records, context.config.seed) is None or groups < needed:
            return (
                f"{count_of(needed, 'group')} of training images are needed, two of each class; there are {groups}"
            )
        if context.clock.stopped:
            return "the user asked to stop"
        width = self._measured.trained.tensors["head.weight"].shape[1]
        seconds = 2 * UNKNOWN_SECONDS * len(records) * width
        if not context.config.cache:
            seconds += 2 * self._measured.feature_seconds * len(records)
        left = self._deadline.left()
        if seconds > left:
            return f"it would take about {format_duration(seconds)}, {format_duration(left)} were left"
        return None

    def trial(self) -> Refused:
        """P-values of classes that were held out."""
        deadline = self._deadline.share(UNKNOWN_TRIAL_SHARE)
        return forget_classes(*self._arrays, self.scores, deadline)

    def detector(self, score: str) -> tuple[UnknownDetector, int]:
        """Fitted on all images at hand, and their number."""
        with one_thread():
            return fit_detectors(*self._arrays, (score,))[score], len(self._records)

    def p_values(self, detector: UnknownDetector) -> PValues:
        """Of the test subset, or a sample of it, `(N,)`."""
        records = sample(self._measured.seen["test"], self._context.config.seed)
        if not records:
            return np.zeros(0)
        features = self._features(records)
        return detector.p_values(features, features)

    @property
    def _deadline(self) -> Deadline:
        """The test subset still has to be predicted, and the model refitted."""
        return self._context.deadline.keeping(self._measured.pending_seconds)

    @cached_property
    def _arrays(self) -> Arrays:
        context, records = self._context, self._records
        folds = context.target.folds(records, context.config.seed)
        assert folds is not None
        return self._features(records), context.targets(records), folds, [p.group for p in records]

    def _features(self, records: Sequence[SplitRecord]) -> Array:
        assert self._measured.features is not None
        mean: Array = self._measured.features(records).mean(axis=0)
        return mean


class _Network:
    """A network that gives logits only: the validation subset says how sure it is of images like those."""

    scores: tuple[str, ...] = ()

    def __init__(self, measured: Candidate, context: RunContext) -> None:
        self._measured, self._context = measured, context
        self._records = measured.seen["val"]

    def why_not(self) -> str | None:
        """See `_Frozen`."""
        needed = groups_needed(self._context.config.unknown_rate)
        groups = len({p.group for p in self._records}) if "val" in self._measured.logits else 0
        if groups < needed:
            return f"{count_of(needed, 'group')} of validation images are needed; there are {groups}"
        return None

    def trial(self) -> Refused:
        """None: the network has learned all classes."""
        return {}

    def detector(self, score: str) -> tuple[UnknownDetector, int]:
        """Of the validation subset."""
        groups = [p.group for p in self._records]
        return entropy_detector(self._measured.logits["val"], groups), len(groups)

    def p_values(self, detector: UnknownDetector) -> PValues:
        """Of the test subset."""
        if not self._measured.seen["test"]:
            return np.zeros(0)
        logits = self._measured.logits_on("test")
        return detector.p_values(logits, logits)


def forget_classes(
    features: Array,
    labels: Labels,
    folds: Labels,
    groups: Sequence[str],
    scores: Sequence[str],
    deadline: Deadline,
) -> Refused:
    """What detectors that were fitted without a class say of it, for each class in turn as far as the time goes.

    Args:
        features: `(N, D)`.
        labels: `(N,)`.
        folds: `(N,)`, groups whole.
        groups: of the images.
        scores: keys of `metrics.unknown.SCORES`.
        deadline: no further class is tried once it has passed.

    Returns:
        Class → score → p-values of its images. Nothing with fewer than `FEWEST_CLASSES`.
    """
    classes = np.unique(labels)
    if len(classes) < FEWEST_CLASSES:
        return {}
    names, refused = np.asarray(groups, dtype=str), Refused()
    tried = classes[np.linspace(0, len(classes) - 1, min(TRIALS, len(classes))).round().astype(int)]
    for label in tried.tolist():
        if deadline.passed:
            break
        kept = labels != label
        with one_thread():
            made = fit_detectors(features[kept], labels[kept], folds[kept], names[kept].tolist(), scores)
            given = features[~kept]
            refused[label] = {name: detector.p_values(given, given) for name, detector in made.items()}
    return refused


def choose_score(refused: Refused, rate: float) -> tuple[str, str]:
    """The score by which most of the classes that were held out are refused, unless the default is about as good.

    Args:
        refused: see `forget_classes`.
        rate: of false alarms.

    Returns:
        The score, and why.
    """
    if len(refused) < FEWEST_CLASSES:
        return DEFAULT_SCORE, "too few classes, or too little time, to hold any out"
    shares = {
        score: np.array([np.mean(p[score] <= rate) for p in refused.values()]) for score in next(iter(refused.values()))
    }  # fmt: skip
    best = max(shares, key=lambda score: float(shares[score].mean()))
    lead = shares[best] - shares[DEFAULT_SCORE]
    if float(lead.mean()) <= float(lead.std(ddof=1)) / math.sqrt(len(lead)):
        best = DEFAULT_SCORE
    words = ", ".join(f"{score}: {share.mean():.1%}" for score, share in shares.items())
    return best, f"refused of {count_of(len(refused), 'class', 'classes')} that were held out: {words}"


def sample(records: Sequence[SplitRecord], seed: int, most: int = MOST_IMAGES) -> list[SplitRecord]:
    """At most about so many of these images: whole groups at random, in the order of the records."""
    names = sorted({p.group for p in records})
    if len(records) <= most:
        return list(records)
    sizes = Counter(p.group for p in records)
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    taken, count = set(), 0
    for i in order:
        if count >= most:
            break
        taken.add(names[i])
        count += sizes[names[i]]
    return [p for p in records if p.group in taken]
