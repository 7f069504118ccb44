"""Training that diverged goes back, with half of the learning rate."""

from __future__ import annotations

import math

from foveal.errors import DataError
from foveal.progress import Progress
from foveal.training.loop.state import TrainState

#: How often a training goes back to its last good state or to its start.
RETRIES = 3
#: From this share of the steps on, a loss above this share of the threshold is that of a network that learns nothing.
_LATE, _LEARNS = 1 / 3, 0.97
#: The loss has risen when it went this share of the way back to the threshold: less is noise between batches.
_RISE = 0.2


class DivergenceGuard:
    """Checks losses: of nan training returns to the last check, of a rising loss to its first step.

    Args:
        state: of the training; its snapshot is the start to return to.
        progress: told in words.
    """

    def __init__(self, state: TrainState, progress: Progress) -> None:
        self._state, self._progress = state, progress
        self._start = state.kept if state.settings.divergence_threshold else None

    def went_back(self, loss: float, *, last: bool) -> bool:
        """Whether training went back, given the mean loss since the last check; a `last` check restarts nothing.

        Raises:
            DataError: when the loss was nan too often.
        """
        state = self._state
        if not math.isfinite(loss) or not state.finite:
            self._to_last_check()
            return True
        if self._start is None or last or not self._diverged(loss) or state.retries >= RETRIES:
            return False
        failed, started = state.step, state.start_loss
        state.go_back(self._start, state.schedule.attempt + 1)
        self._say(f"the loss went from {started:.3g} to {loss:.3g} by step {failed}: starting again")
        return True

    def _to_last_check(self) -> None:
        state = self._state
        if state.retries == RETRIES:
            raise DataError(
                f"the loss became nan {RETRIES + 1} times, the last time before step {state.step}",
                hint="are there images of a single colour, or random labels? `foveal audit` tells",
            )
        failed = state.step
        state.go_back(state.kept, state.schedule.attempt)
        self._say(f"the loss became nan before step {failed}: back to step {state.step}")

    def _diverged(self, loss: float) -> bool:
        """Whether the learning rate was too high: the loss rose, or the network learns nothing."""
        state = self._state
        threshold = state.settings.divergence_threshold
        late = state.step >= _LATE * state.schedule.end_before(state.step)
        rise = _RISE * max(0.0, threshold - state.start_loss)
        return loss > state.start_loss + rise or (late and loss > _LEARNS * threshold)

    def _say(self, what: str) -> None:
        state = self._state
        self._progress.say(
            f"{what}, with {state.lr_factor:g} of the learning rate ({state.retries} of {RETRIES} retries)"
        )
