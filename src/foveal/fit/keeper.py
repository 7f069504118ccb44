"""When the training loop writes checkpoints: not too rarely, and never for longer than there is time."""

from __future__ import annotations

import time
from typing import Any, NoReturn, Protocol

from foveal.errors import BundleError, Interrupted
from foveal.fit.checkpoints import Checkpoints

#: Bytes of a checkpoint written a second, until one was; and seconds of training for each that checkpoints take.
_WRITTEN, _RARELY = 120e6, 10


class Kept(Protocol):
    """What a training was at its last look."""

    step: int
    kept: dict[str, Any]
    kept_step: int
    kept_facts: dict[str, Any]

    def restore(self, tensors: dict[str, Any], facts: dict[str, Any]) -> None:
        """Go on from there."""

    def remember(self) -> None:
        """Keep what is now."""


class Keeper:
    """Goes on from the checkpoint that there is, and saves new ones."""

    def __init__(self, state: Kept, checkpoints: Checkpoints | None, every: float) -> None:
        self._state, self._checkpoints, self._every = state, checkpoints, every
        if checkpoints and (found := checkpoints.load()):
            try:
                state.restore(*found)
            except BundleError as refusal:
                raise BundleError(f"{checkpoints.folder}: {refusal.message}", hint=refusal.hint) from None
        state.remember()
        self._saved, self._when = state.step, time.monotonic()
        self._takes = sum(t.nbytes for t in state.kept.values()) / _WRITTEN

    def save(self) -> bool:
        """The state at the last look; False when it could not be written."""
        if self._checkpoints is None:
            return False
        began = time.monotonic()
        done = self._checkpoints.save(self._state.kept_step, self._state.kept, self._state.kept_facts)
        self._saved, self._when = self._state.step, time.monotonic()
        self._takes = self._when - began
        return done

    def leave(self) -> NoReturn:
        """Save, and end here.

        Raises:
            Interrupted: with the exit code of SIGTERM.
        """
        where = "the checkpoint is saved" if self.save() else "no checkpoint could be saved"
        raise Interrupted(f"stopped; {where}: go on with --resume", exit_code=143)

    def save_if_due(self) -> None:
        """When the last one is long ago, and much longer than one takes."""
        if time.monotonic() - self._when > max(self._every, self._takes * _RARELY):
            self.save()

    def save_if_new(self, left: float) -> None:
        """When there is something that the last one lacks, and writing it fits into these seconds.

        Without it a run broken off before its bundle stands goes on from an older one, to the same weights.
        """
        if self._saved != self._state.step and self._takes <= left:
            self.save()
