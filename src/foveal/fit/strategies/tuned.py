"""A pretrained network goes on learning, in two ways, each first tried on pictures held out of the training side.

    foveal train DATA --strategy fine-tune       all layers learn, at a size that short trials choose
    foveal train DATA --strategy cached-trunk    frozen below, cached for several augmented views; the rest learns

`NAME-all` goes on with all training pictures, once it is known to be worth it. What they cost and gain on pictures
far from photographs, by `bench/ladder.py`, stands in `docs/ladder.md`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from foveal.fit.evidence import Evidence, compare, hold_out
from foveal.fit.strategies.base import MARGIN, Array, Candidate, Work, best_of, owed, untellable
from foveal.fit.strategies.mirror import mirror_keeps_label
from foveal.fit.tunings import CACHED, FULL, Tuning
from foveal.metrics.intervals import wilson
from foveal.values import Placed, Side

if TYPE_CHECKING:
    from foveal.fit.augment import Augment
    from foveal.fit.tuning import Tuner
    from foveal.models.tuned import Tuned

#: Sizes that a trial may choose among, from the cheapest.
SIZES = (96, 128, 160, 224)
#: Above a cached trunk, for small pictures and for those whose long side is mostly `_LARGE` pixels or more.
CACHED_SIZES, _LARGE = (128, 224), 192
#: Share of the errors that tuning usually saves: with fewer errors left than can show it, it is not tried.
USUAL_GAIN = 0.5
#: Share of the time left that trials of sizes may take.
_TRIALS = 0.25
#: Passes through the pictures in a trial, and the most pictures it learns from and is asked about.
_TRIAL_EPOCHS, _TRIAL_PICTURES = 2.0, 1000
#: Its steps at least.
_TRIAL_STEPS = 40
#: Seconds under which no training is worth finding out about: imports and measuring speed take a third of them.
_LEAST = 20.0
#: Share of the steps that are made before it is known whether a training is worth it; all pictures join the rest.
#: `docs/ladder.md` has what three shares came to.
_FIRST = 0.45
_REST = (1 - _FIRST) / _FIRST
#: Fewer steps with all pictures are not worth what is around them: then the first training has all the time.
_FEW = 20
#: A first part without time for all of its steps is not what the training comes to: it is kept while its sum of
#: z-values is not so much behind, less on pictures like those of the pretraining. On five tasks unlike them the
#: whole training, pinned, came out ahead of the stages or level (`bench/ladder.py`).
_HANDICAP, _NEAR = 3.0, 1.0
#: Share of its steps with which going on is still worth it.
_SHORTER = 0.3
#: Share of the time left that a training may plan for; the rest is for noise in the speed.
_PLANNED = 0.93
#: Of the time kept for measuring and report: answers, which take most of it, are measured and planned for here.
_AFTER = 0.5


@dataclass(frozen=True)
class Tune:
    """One recipe as a rung."""

    how: Tuning
    surely_better: bool = False

    @property
    def name(self) -> str:
        """As in `--strategy NAME`."""
        return self.how.name

    def refuse(self, work: Work, so_far: Sequence[Candidate]) -> str | None:
        """Not worth it when nobody could tell its gain from chance."""
        backbone, best = work.features.backbone, best_of(so_far, work.decisions)
        if self.how.cut and not backbone.stages:
            return f"the stages of {backbone.name} are not known: no part of it can be frozen alone"
        if best is None:
            return None
        if best.score is None:
            return "no pictures can be held out, and so nothing would tell whether it is better"
        return untellable(USUAL_GAIN, best)

    def estimate(self, work: Work, so_far: Sequence[Candidate]) -> float:
        """Seconds for the least that is worth beginning, at the smallest size, and for finding out."""
        if _left(work) < _LEAST:
            return _LEAST
        needed, sizes = 0.0, _sizes(work, self.how)
        for size in sizes if self.how.cut else sizes[:1]:
            needed = _least(work, self.how, size)
            if needed * MARGIN <= _left(work) - owed(so_far, work.decisions):
                break
        return needed

    def fit(self, work: Work, so_far: Sequence[Candidate]) -> Candidate:
        """Choose a size, find out whether it is worth it, train."""
        began = work.clock.spent()
        train = work.split.on("train")
        held = hold_out(train, work.labels(train), work.seed)
        inside = [p for p, out in zip(train, held, strict=True) if not out]
        outside = [p for p, out in zip(train, held, strict=True) if out]
        how = _suited(self.how, work)
        size = work.decisions.settle(f"{self.name} size", _Trials(how, work, inside, outside).choose)
        learns = work.decisions.settle(f"{self.name} learns from", lambda: _learns_from(outside, so_far, work))
        reasons = (work.decisions.made[f"{self.name} {what}"]["reason"] for what in ("size", "learns from"))
        work.progress.say(f"{self.name} at {size} px: " + "; ".join(reasons))
        some = train if learns == "all" else inside
        tuner = _tuner(how, work, size)
        val, test = (len(work.split.on(side)) for side in ("val", "test"))
        asked = val + len(train) - len(some)
        after = max(owed(so_far, work.decisions), tuner.overhead([], test))  # of the one that is handed over
        after += 0.0 if learns == "all" else tuner.overhead([], val)
        seconds = _left(work) - tuner.overhead(some, asked) - after
        share = 1.0 if learns == "all" else _share_of_first(seconds, tuner.seconds_a_step())
        steps = work.decisions.settle(f"{self.name} steps", lambda: tuner.steps(some, share * seconds * _PLANNED))
        later = (1 - share) * seconds if seconds < math.inf else 0.0  # a repeated run has all the time
        reserve = _after(work) + later + after + tuner.overhead([], asked)
        network, settings = tuner.train(self.name, some, steps, reserve=reserve, most=tuner.all_steps(some))
        evidence = None
        if learns != "all":
            evidence = Evidence.of(outside, tuner.answers(network, outside), work.labels(outside))
        found = _candidate(self.name, tuner, network, some, evidence, work.clock.spent() - began, settings)
        behind = _HANDICAP if how.rate == self.how.rate else _NEAR
        goes_on = share < 1.0 and steps < tuner.all_steps(some)
        return replace(found, handicap=behind if goes_on else 0.0)


@dataclass(frozen=True)
class TuneAll:
    """A training that has proved itself goes on with the pictures that were held out, too."""

    how: Tuning
    surely_better: bool = True

    @property
    def name(self) -> str:
        """As in `--strategy NAME`."""
        return f"{self.how.name}-all"

    def refuse(self, work: Work, so_far: Sequence[Candidate]) -> str | None:
        """Only after the first training was kept, and had pictures held out."""
        before = self._before(so_far)
        if before is None or not work.decisions.made.get(f"keep {self.how.name}", {"value": False})["value"]:
            return f"{self.how.name} was not kept"
        if len(before.seen["train"]) == len(work.split.on("train")):
            return "all training pictures were in it already"
        return None

    def estimate(self, work: Work, so_far: Sequence[Candidate]) -> float:
        """Of its steps the fewest that are worth it, and answers, but for those that the first training owes."""
        before = self._before(so_far)
        if before is None:
            return 0.0
        tuner = _tuner(self.how, work, before.settings["size"])
        steps = float(before.settings["outcome"]["steps"]) * _REST * _SHORTER
        return steps * tuner.seconds_a_step() + tuner.overhead([], len(work.split.on("val")))

    def fit(self, work: Work, so_far: Sequence[Candidate]) -> Candidate:
        """Go on with everything, and with the settings of the first training."""
        before = self._before(so_far)
        assert before is not None
        began, train = work.clock.spent(), work.split.on("train")
        tuner = _tuner(_suited(self.how, work), work, before.settings["size"])
        first = int(before.settings["outcome"]["steps"])
        around = tuner.overhead([], len(work.split.on("val")) + len(work.split.on("test")))

        # What the first part had no time for may still be made.
        wanted = max(1, round(first * _REST), tuner.all_steps(train) - first)

        def enough() -> tuple[int, str]:
            fits, reason = tuner.steps(train, (_left(work) - around) * _PLANNED)
            return (wanted, f"after {first} steps before") if wanted <= fits else (fits, reason)

        steps, start = work.decisions.settle(f"{self.name} steps", enough), (before.learned.tensors, first)
        network, settings = tuner.train(
            self.name, train, steps, reserve=_after(work) + around, most=wanted, start=start
        )
        seconds = work.clock.spent() - began
        evidence = before.evidence if isinstance(before.evidence, Evidence) else None
        return _candidate(self.name, tuner, network, train, evidence, seconds, settings)

    def _before(self, so_far: Sequence[Candidate]) -> Candidate | None:
        return next((c for c in so_far if c.strategy == self.how.name), None)


class _Trials:
    """Short trainings that choose the size of the pictures."""

    def __init__(self, how: Tuning, work: Work, inside: Sequence[Placed], outside: Sequence[Placed]) -> None:
        self.how, self.work = how, work
        self.inside = _some(inside, _TRIAL_PICTURES, work.seed)
        self.outside = _some(outside, _TRIAL_PICTURES // 2, work.seed)
        self.evidence: dict[int, Evidence] = {}

    def choose(self) -> tuple[int, str]:
        """The size after which a larger one does not do better, as far as the time goes."""
        sizes = self._affordable()
        if len(sizes) == 1 or not self.outside:
            suits = self.how.cut and sizes[0] == _sizes(self.work, self.how)[0]
            return sizes[0], "it suits the pictures" if suits else "the only size that the time suffices for"
        room = _left(self.work) * _TRIALS
        began, best = self.work.clock.spent(), sizes[0]
        words: list[str] = []
        for size in sizes:
            if words and self.work.clock.spent() - began + self._cost(size) > room:
                words.append(f"no time to try {size} px")
                break
            self.evidence[size] = self._tried(size)
            right = self.evidence[size].right
            words.append(f"{size} px: {right} of {len(self.outside)}")
            if size != best:
                if compare(self.evidence[size], self.evidence[best]).sum_of_z <= 0:
                    break
                best = size
        return best, "after a short trial of each: " + ", ".join(words)

    def _cost(self, size: int) -> float:
        """Seconds of a trial."""
        tuner = _tuner(self.how, self.work, size)
        learning = tuner.seconds_a_picture() * self._steps() * self.how.batch
        return learning + tuner.overhead(self.inside, len(self.outside))

    def _steps(self) -> int:
        return max(_TRIAL_STEPS, round(_TRIAL_EPOCHS * len(self.inside) / self.how.batch))

    def _affordable(self) -> list[int]:
        """Sizes whose least training takes less than half of the time left, or the last resort; of a cached trunk
        the first of them: a trial would cost as much as it could save."""
        sizes, room = _sizes(self.work, self.how), 0.5 * _left(self.work)
        if self.how.cut:
            return [next((s for s in sizes[:-1] if _least(self.work, self.how, s) <= room), sizes[-1])]
        return [sizes[0], *takewhile(lambda s: _least(self.work, self.how, s) <= room, sizes[1:])]

    def _tried(self, size: int) -> Evidence:
        tuner = _tuner(self.how, self.work, size)
        name = f"{self.how.name}-trial-{size}"
        network, _ = tuner.train(name, self.inside, self._steps(), reserve=_after(self.work))
        return Evidence.of(self.outside, tuner.answers(network, self.outside), self.work.labels(self.outside))


def _after(work: Work) -> float:
    """Seconds that are kept for what comes after a training and its answers."""
    return _AFTER * work.reserve


def _left(work: Work) -> float:
    return work.clock.left(reserve=_after(work))


def _share_of_first(seconds: float, a_step: float) -> float:
    """Of the seconds for all steps, those for the steps before it is known whether they are worth it."""
    return _FIRST if (1 - _FIRST) * seconds >= _FEW * a_step else 1.0


def _learns_from(outside: Sequence[Placed], so_far: Sequence[Candidate], work: Work) -> tuple[str, str]:
    """Whether to learn from all pictures at once, or to hold some out to be sure."""
    best = best_of(so_far, work.decisions)
    if not outside:
        return "all", "there are too few pictures to hold some out"
    if best is None or best.evidence is None:
        return "all", "there is nothing to compare with"
    return "the pictures inside", f"{len(outside)} are held out to see whether it is worth it"


def _suited(how: Tuning, work: Work) -> Tuning:
    """The recipe with a lower rate for pictures such as the network was pretrained on: it knows more of them than
    a few hundred can teach. They are those of which all of its stages showed no more than the last one."""

    def rate() -> tuple[float, str]:
        if work.decisions.made.get("keep frozen-stages", {"value": True})["value"]:
            return how.rate, "the recipe's"
        return (
            how.rate * how.near,
            "all stages showed no more than the last: pictures such as it was pretrained on",
        )

    return replace(how, rate=float(work.decisions.settle(f"{how.name} rate", rate)))


def _tuner(how: Tuning, work: Work, size: int) -> Tuner:
    from foveal.fit.tuning import Tuner

    return Tuner(how, work, size, _augment(work))


def _augment(work: Work) -> Augment:
    """As asked for; mirrored where that keeps the label."""
    from foveal.fit.augment import STRENGTHS

    how = STRENGTHS["light" if work.augment == "auto" else work.augment]
    if work.augment == "none":
        return how
    return replace(how, mirror=bool(work.decisions.settle("mirror", lambda: mirror_keeps_label(work))))


def _sizes(work: Work, how: Tuning) -> tuple[int, ...]:
    """What the backbone takes: any where its segments are known; its own where it may be no convolutional one.

    From the cheapest on; above a cached trunk first the one that suits the pictures, then a smaller one, should
    there be too little time.
    """
    backbone = work.features.backbone
    if not backbone.stage_dimension:
        return (backbone.preprocess.size,)
    if not how.cut:
        return SIZES
    side = statistics.median(max(p.record.width, p.record.height) for p in work.split.on("train"))
    return CACHED_SIZES[::-1] if side >= _LARGE else CACHED_SIZES[:1]


def _least(work: Work, how: Tuning, size: int) -> float:
    """Seconds of the least training that is worth beginning."""
    return _tuner(how, work, size).seconds_an_epoch(work.split.on("train")) * how.epochs * how.least


def _some(placed: Sequence[Placed], most: int, seed: int) -> list[Placed]:
    order = np.random.default_rng([seed, 5]).permutation(len(placed))[:most]
    return [placed[i] for i in sorted(order.tolist())]


def _candidate(
    name: str,
    tuner: Tuner,
    network: Tuned,
    learned_from: Sequence[Placed],
    evidence: Evidence | None,
    seconds: float,
    settings: dict[str, Any],
) -> Candidate:
    work = tuner.work
    n = len(evidence.logits) if evidence else 0
    with work.clock.lap("evaluate"):
        seen: dict[Side, list[Placed]] = {
            "train": list(learned_from),
            "val": work.split.on("val"),
            "test": work.split.on("test"),
        }
        logits: dict[Side, Array] = {"val": tuner.answers(network, seen["val"])}
    return Candidate(
        strategy=name,
        seconds=seconds,
        score=evidence.right / n if evidence and n else None,
        score_ci95=wilson(evidence.right, n) if evidence and n else None,
        score_n=n,
        learned=tuner.learned(network),
        logits=logits,
        answer=lambda placed: tuner.answers(network, placed),
        owes=tuner.overhead([], len(seen["test"])),
        seen=seen,
        settings=settings,
        evidence=evidence,
    )


#: The cached trunk comes first: it costs a third, and did best on photographs.
RUNGS = (Tune(CACHED), TuneAll(CACHED), Tune(FULL), TuneAll(FULL))
