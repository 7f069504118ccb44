"""Networks trained from nothing, for small pictures: the time budget alone chooses the recipe.

What each costs and is worth, on MNIST's 10,000 test pictures (`bench/mnist.py`):

.. bench mnist

    foveal train DATA --time 40s   scratch-seconds   6 s       99.110 % (n 20, sd 0.093)
    foveal train DATA --time 75s   scratch-minute    48 s      99.572 % (n 5, sd 0.038)
    foveal train DATA --time 15m   scratch-quarter   797 s     99.710 % (n 1, sd -)
    foveal train DATA --time 1h    scratch-hour      2596 s    99.740 % (n 1, sd -)

.. end

The first recipe always runs: it gives a usable model in seconds, and tells whether mirrored pictures keep
their label. Of the others the longest that the time suffices for follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveal.fit.recipes import RECIPES, Recipe
from foveal.fit.strategies.base import MARGIN, Array, Candidate, Work
from foveal.metrics.intervals import wilson
from foveal.values import Side

if TYPE_CHECKING:
    from foveal.fit.training import Trainer

#: A longer recipe must fit with this much to spare before a shorter one steps aside for it: a little more than the
#: ladder asks of it afterwards.
_SPARE = 1.05 * MARGIN
#: Mirrored pictures keep their label when the first network loses less than this share of its right answers.
_MIRROR_LOSS = 0.05


@dataclass(frozen=True)
class Scratch:
    """One recipe as a rung; `longer` are the rungs above it."""

    recipe: Recipe
    longer: tuple[Scratch, ...] = ()
    surely_better: bool = True

    @property
    def name(self) -> str:
        """As in `--strategy NAME`."""
        return self.recipe.name

    def refuse(self, work: Work, so_far: Sequence[Candidate]) -> str | None:
        """Not worth it when a longer recipe fits the time as well."""
        for rung in reversed(self.longer):
            if rung.estimate(work, so_far) * _SPARE <= work.clock.left(reserve=work.reserve):
                return f"there is time for {rung.name}"
        return None

    def estimate(self, work: Work, so_far: Sequence[Candidate]) -> float:
        """Seconds for the least number of epochs, from the speed of this machine on this network."""
        from foveal.fit.training import Trainer

        recipe = self.recipe
        if so_far and _rough(recipe, so_far[0]) * recipe.least > 3 * work.clock.left(reserve=work.reserve):
            return _rough(recipe, so_far[0]) * recipe.least  # so far off that measuring is a waste
        return Trainer(recipe, work).seconds_an_epoch() * recipe.epochs * recipe.least * recipe.members

    def fit(self, work: Work, so_far: Sequence[Candidate]) -> Candidate:
        """Train its network, or networks, and ask them about the held-out sides."""
        from foveal.fit.training import Trainer

        began = work.clock.spent()
        recipe = self._mirrored(work, so_far)
        trainer = Trainer(recipe, work)
        steps = work.decisions.settle(f"{self.name} steps", trainer.affordable_steps)
        outcomes = self._members(trainer, steps, work)
        learned = trainer.learned()
        with work.clock.lap("evaluate"):
            logits: dict[Side, Array] = {side: trainer.answers(work.pixels(side)) for side in ("val", "test")}
        labels = work.labels(work.split.on("val"))
        right = int((logits["val"].argmax(axis=1) == labels).sum()) if len(labels) else 0
        return Candidate(
            strategy=self.name,
            seconds=work.clock.spent() - began,
            score=right / len(labels) if len(labels) else None,
            score_ci95=wilson(right, len(labels)) if len(labels) else None,
            score_n=len(labels),
            learned=learned,
            logits=logits,
            seen={side: work.split.on(side) for side in ("train", "val", "test")},
            settings={"recipe": asdict(recipe), "outcomes": outcomes},
        )

    def _members(self, trainer: Trainer, steps: int, work: Work) -> list[dict[str, Any]]:
        """How each network's training went; a network that the time, or someone, stopped short is worth nothing
        beside others that were not."""
        outcomes: list[dict[str, Any]] = []
        known = work.decisions.made.get(key := f"{self.name} members")
        for member in range(known["value"] if known else self.recipe.members):
            if outcomes and not known and work.clock.left(reserve=work.reserve) <= 0:
                break
            outcome = trainer.train(member, steps)
            if outcomes and not known and f"{self.name}-{member} stopped at" in work.decisions.made:
                trainer.forget_last()
                break
            outcomes.append(outcome)
        if len(outcomes) < self.recipe.members and not known:
            work.decisions.record(key, len(outcomes), "the time was up, or someone said stop")
        return outcomes

    def _mirrored(self, work: Work, so_far: Sequence[Candidate]) -> Recipe:
        """The recipe, with mirroring where the first network says that it keeps the label."""
        if not so_far or not self.recipe.augment:
            return self.recipe
        keeps = work.decisions.settle("mirror", lambda: _mirror_keeps_label(work, so_far[0]))
        return replace(self.recipe, augment={**self.recipe.augment, "mirror": bool(keeps)})


def _mirror_keeps_label(work: Work, first: Candidate) -> tuple[bool, str]:
    from foveal.fit.training import answers_of

    labels = work.labels(work.split.on("val"))
    if not len(labels) or first.score is None or first.score < 1.5 / len(work.split.classes):
        return False, "nothing to ask it on, or nobody who would know"
    mirrored = answers_of(first.learned, np.ascontiguousarray(work.pixels("val")[:, :, :, ::-1]))
    score = float((mirrored.argmax(axis=1) == labels).mean())
    words = f"{first.strategy} is right on {first.score:.1%} of the validation side, mirrored on {score:.1%}"
    return score >= first.score * (1 - _MIRROR_LOSS), words


def _rough(recipe: Recipe, first: Candidate) -> float:
    """Seconds of a recipe by the multiplications of its network and those of the first."""
    done = Recipe(**first.settings["recipe"])
    steps = sum(o["steps"] for o in first.settings["outcomes"])
    seconds = sum(o["seconds"] for o in first.settings["outcomes"])
    epochs = steps * done.batch / max(1, len(first.seen["train"]))
    an_epoch = float(seconds / max(epochs, 0.01))
    return an_epoch * _work(recipe) / _work(done) * recipe.epochs * recipe.members


def _work(recipe: Recipe) -> float:
    """Multiplications of one look at a picture, in units of one a pixel."""
    total, before, area = 0.0, 1, 1.0 / recipe.stride**2
    for number, stage in enumerate(recipe.stages):
        area /= 4 if number else 1
        for place, width in enumerate(stage):
            kernel = recipe.kernel if number == place == 0 else 3
            total += area * kernel**2 * before * width
            before = width
        if recipe.residual and number:
            total += 2 * area * 9 * before**2
    return total


def _rungs() -> tuple[Scratch, ...]:
    rungs: tuple[Scratch, ...] = ()
    for recipe in reversed(RECIPES):
        rungs = (Scratch(recipe, rungs), *rungs)
    first, *rest = rungs
    return (replace(first, longer=()), *rest)


RUNGS = _rungs()
