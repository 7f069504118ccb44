"""Segmentation as a ladder: a quick FCN that is usable in a minute, then a U-Net for as long as there is time.

On street scenes of CamVid that were not learned from (`bench/camvid.py`):

.. bench camvid

    foveal train DATA --time 30m   unet      1768 s    mIoU 50.5 % (43.8 to 52.4; n 1), another place
    foveal train DATA --time 30m   unet      1781 s    mIoU 61.6 % (59.4 to 62.4; n 1), later in the drives

.. end

The time chooses how large the network sees the pictures, and how many steps it learns. What each model is worth is
asked of the validation side, which none of them learns from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from foveal.fit.mask_evidence import MaskEvidence
from foveal.fit.segmentings import FULL, QUICK, Segmenting
from foveal.fit.strategies.base import Candidate, Work

if TYPE_CHECKING:
    from foveal.fit.masker import Masker

#: Mirrored pictures keep their classes when a network that never saw any loses less than this share of its mIoU.
_MIRROR_LOSS = 0.1
#: A step of the full recipe takes about as long as so many of the quick one (1.0 on digit scenes), and so much
#: more must be left for it.
_LONGER, _ROOM = 1.2, 1.3
#: Seconds that importing torch and timm and building the network take, roughly.
_IMPORTS = 15.0


@dataclass(frozen=True)
class Segment:
    """One recipe as a rung.

    Attributes:
        how: the recipe.
        longer: that of the rung after it; where there is no time for that one, this one has it all.
    """

    how: Segmenting
    longer: Segmenting | None = None
    surely_better: bool = True

    @property
    def name(self) -> str:
        """As in `--strategy NAME`."""
        return self.how.name

    def refuse(self, work: Work, so_far: Sequence[Candidate]) -> str | None:
        """Only the time decides."""
        return None

    def estimate(self, work: Work, so_far: Sequence[Candidate]) -> float:
        """Seconds for the fewest steps that are worth beginning."""
        if work.clock.left(reserve=work.reserve) < _IMPORTS:
            return _IMPORTS
        masker = self._masker(work, self.how.scales[-1])
        return masker.seconds_a_step() * self.how.least_steps + masker.overhead()

    def fit(self, work: Work, so_far: Sequence[Candidate]) -> Candidate:
        """Choose how large to look at the pictures, train, and ask the validation side."""
        began, rung = work.clock.spent(), self._with_time(work)
        scale = work.decisions.settle(f"{self.name} scale", lambda: rung._scale(work))
        masker = rung._masker(work, float(scale))
        mirror = self._mirror(work, so_far)
        steps = work.decisions.settle(f"{self.name} steps", masker.affordable_steps)
        module, settings = masker.train(steps, mirror=mirror)
        learned = masker.learned(module)
        with work.clock.lap("evaluate"):
            evidence = masker.evidence(module)
        return Candidate(
            strategy=self.name,
            seconds=work.clock.spent() - began,
            score=None if math.isnan(evidence.miou) else evidence.miou,
            score_ci95=evidence.interval,
            score_n=len(evidence.counts),
            learned=learned,
            logits={},
            seen={side: work.split.on(side) for side in ("train", "val", "test")},
            settings=settings,
            evidence=evidence if evidence.counts else None,
        )

    def _with_time(self, work: Work) -> Segment:
        """This rung, or the same with all the time and all the epochs that the longer one has no use for."""
        if self.longer is None:
            return self
        pinned = work.only == self.name
        alone = pinned or work.decisions.settle(f"{self.name} alone", lambda: self._alone(work, self.longer))
        return replace(self, how=replace(self.how, most_share=1.0, epochs=self.longer.epochs)) if alone else self

    def _alone(self, work: Work, longer: Segmenting | None) -> tuple[bool, str]:
        assert longer is not None
        masker = self._masker(work, self.how.scales[-1])
        left = work.clock.left(reserve=work.reserve) - 2 * masker.overhead()
        needed = masker.seconds_a_step() * _LONGER * longer.least_steps * _ROOM
        after = left * (1 - self.how.most_share)
        if needed <= after:
            return False, f"{longer.name} follows"
        return (
            True,
            f"{longer.name} would take about {needed:.0f} s after it, {max(0.0, after):.0f} s would be left",
        )

    def _mirror(self, work: Work, so_far: Sequence[Candidate]) -> bool:
        """Settled once somebody can be asked; a rung that is pinned is the first, and goes without."""
        return bool(so_far and work.decisions.settle("mirror", lambda: _mirror(work, so_far)))

    def _masker(self, work: Work, scale: float) -> Masker:
        from foveal.fit.masker import Masker

        return Masker(self.how, work, scale)

    def _scale(self, work: Work) -> tuple[float, str]:
        """The largest at which all pixels can be looked at often enough."""
        words = []
        for scale in self.how.scales:
            looks = self._masker(work, scale).looks()
            words.append(f"{scale:g} of their size: {looks:.0f} times")
            if looks >= self.how.looks:
                break
        return scale, "how often the time suffices to look at all pixels, at " + ", ".join(words)


def _mirror(work: Work, so_far: Sequence[Candidate]) -> tuple[bool, str]:
    """Whether mirrored pictures keep their classes: asked of the first network, which saw none.

    Letters and left-hand traffic signs don't bear it, most things do.
    """
    if work.augment == "none":
        return False, "--augment none"
    if so_far[0].score is None:
        return False, "there is nothing to ask the first network on"
    from foveal.fit.masker import mirrored_evidence

    plain, first = so_far[0].score, so_far[0]
    turned: MaskEvidence = mirrored_evidence(work, first.learned)
    words = f"{first.strategy} reaches an mIoU of {plain:.1%} on the validation side, mirrored {turned.miou:.1%}"
    return turned.miou >= plain * (1 - _MIRROR_LOSS), words


RUNGS = (Segment(QUICK, FULL), Segment(FULL))
