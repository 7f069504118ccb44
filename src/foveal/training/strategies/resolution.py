"""A linear probe on inputs larger than those that the backbone was trained with, where cross-validation favours it.

    foveal train DATA --strategy frozen-resolution

Details count in many photographs, and networks see more of them in somewhat larger images than they were trained with
(Touvron et al. 2019, "Fixing the train-test resolution discrepancy"). It costs as much more as there are pixels, so it
follows what gains more in the same time.
"""

from __future__ import annotations

from dataclasses import dataclass

from foveal.decisions import FEATURE_SECONDS
from foveal.training.candidate import Candidate
from foveal.training.context import RunContext
from foveal.training.strategies.finetune import USUAL_GAIN as FINE_TUNING_GAIN
from foveal.training.strategies.linear_probe import probe_like
from foveal.training.strategy import LadderState, below_noise_floor
from foveal.training.time_budget import CHEAP_SHARE, FINETUNE_LEAST_SECONDS

#: Times the side that the backbone was trained with, as a fraction: 288 pixels instead of 224.
_SCALE = 9, 7
#: Sides are multiples of the backbone's largest stride, pixels.
_STRIDE = 32


@dataclass(frozen=True)
class ResolutionStrategy:
    """The best linear probe so far, with larger inputs."""

    name: str = "frozen-resolution"
    keep_unless_worse: bool = False
    continues: str | None = None

    def refuse(self, context: RunContext, state: LadderState) -> str | None:
        """Not where only one size is possible, memory is short, or the time is better spent on fine-tuning."""
        backbone = context.features.backbone
        if not backbone.stage_dimension:
            return f"{backbone.name} may not be convolutional: it is given images of its own size"
        return why_not_costlier(context, state, self.estimate(context, state))

    def estimate(self, context: RunContext, state: LadderState) -> float:
        """Features of all images anew, and a head."""
        if state.first is None or state.best is None:
            return 0.0
        per_image = (context.decisions.get(FEATURE_SECONDS) or 0.0) * _cost(context)
        views = len(state.best.trained.views)
        return per_image * views * len(context.split.placed) + state.best.training_seconds

    def fit(self, context: RunContext, state: LadderState) -> Candidate:
        """See `LinearProbeStrategy`; with the views and features of the best one so far."""
        probe = probe_like(state.best, self.name).at_cost(_cost(context))
        return probe.fit(context.with_size(_size(context)), state)


def why_not_costlier(context: RunContext, state: LadderState, seconds: float) -> str | None:
    """Why a linear probe that costs more than those before it is not worth trying now, in words; None when it is.

    Args:
        context, state: of the run.
        seconds: that it would take.
    """
    best = state.best
    if not context.memory.ample:
        return "memory is limited"
    if best is None:
        return None
    if best.trained.backbone is None or best.score is None:
        return f"{best.strategy} is no linear probe that can be compared"
    if best.score == 1:
        return "no error is left"
    if seconds > CHEAP_SHARE * context.deadline.left() >= CHEAP_SHARE * FINETUNE_LEAST_SECONDS:
        return None if below_noise_floor(FINE_TUNING_GAIN, best) else "fine-tuning usually gains more"
    return None


def _size(context: RunContext) -> int:
    above, below = _SCALE
    return -(-context.features.preprocess.size * above // (below * _STRIDE)) * _STRIDE


def _cost(context: RunContext) -> float:
    """Of features at the larger size, times those at the usual one."""
    return (_size(context) / context.features.preprocess.size) ** 2


STRATEGY = ResolutionStrategy()
