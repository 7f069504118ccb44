"""When the training loop writes checkpoints: not too rarely, and never for longer than there is time."""

from __future__ import annotations

import time
from typing import NoReturn

from foveal.errors import BundleError, Interrupted
from foveal.training.loop.checkpoints import Checkpoints
from foveal.training.loop.state import Snapshot, TrainState
from foveal.training.time_budget import CHECKPOINT_BYTES_PER_SECOND, CHECKPOINT_INTERVAL


class CheckpointManager:
    """Continues from the checkpoint that there is, and saves new ones."""

    def __init__(self, state: TrainState, checkpoints: Checkpoints | None, every: float) -> None:
        self._state, self._checkpoints, self._every = state, checkpoints, every
        if checkpoints and (loaded := checkpoints.load()):
            try:
                state.restore(Snapshot(*loaded))
            except BundleError as refusal:
                raise BundleError(f"{checkpoints.folder}: {refusal.message}", hint=refusal.hint) from None
            state.keep()
        self._saved, self._when = state.step, time.monotonic()
        self._takes = sum(t.nbytes for t in state.kept.tensors.values()) / CHECKPOINT_BYTES_PER_SECOND

    def save(self) -> bool:
        """The state at the last check; False when it could not be written."""
        if self._checkpoints is None:
            return False
        began, kept = time.monotonic(), self._state.kept
        done = self._checkpoints.save(kept.step, kept.tensors, kept.facts)
        self._saved, self._when = self._state.step, time.monotonic()
        self._takes = self._when - began
        return done

    def exit(self) -> NoReturn:
        """Save, and end here.

        Raises:
            Interrupted: with the exit code of SIGTERM.
        """
        where = "the checkpoint is saved" if self.save() else "no checkpoint could be saved"
        raise Interrupted(f"stopped; {where}: continue with --resume", exit_code=143)

    def save_if_due(self) -> None:
        """When the last one is long ago, and much longer than writing one takes."""
        if time.monotonic() - self._when > max(self._every, self._takes * CHECKPOINT_INTERVAL):
            self.save()

    def save_if_new(self, left: float) -> None:
        """When there is something that the last one lacks, and writing it fits into these seconds.

        Without it a run that is killed before its bundle is written continues from an older one, to the same weights.
        """
        if self._saved != self._state.step and self._takes <= left:
            self.save()
