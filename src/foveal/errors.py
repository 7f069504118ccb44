"""Everything foveal raises on purpose.

    FovealError                 the root; `exit_code` is what the command line ends with
    ├── UsageError              the call makes no sense (an unknown option, a time that is no time)
    │   ├── UnknownName         a name that is none of the known ones; suggests the nearest
    │   └── MemoryShort         the budget of memory is too small for it
    ├── DataError               what was given to read can't be read or can't be learned from
    │   └── UnreadableImage     one picture, refused for a stated reason; runs go on without it
    ├── BundleError             a run folder or bundle that is missing, broken, or from elsewhere
    ├── WeightsUnavailable      a backbone whose weights are not on this machine
    └── Interrupted             stopped by a signal before the run was finished

Every one carries a `hint`: what the person can do now.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FovealError(Exception):
    """Root of all errors that foveal raises on purpose."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FovealError):
    """The call itself makes no sense."""


class UnknownName(UsageError):
    """A name that is none of the known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}", hint=hint)
        self.near = near[0] if near else None


class MemoryShort(UsageError):
    """It does not fit into the memory that it was given."""


class DataError(FovealError):
    """The data can't be read, or nothing can be learned from it."""


class UnreadableImage(DataError):
    """One picture that was refused, with the reason as a code (see `data/decode.py`)."""

    def __init__(self, path: str, code: str, detail: str) -> None:
        super().__init__(f"{path}: {detail}")
        self.path = path
        self.code = code
        self.detail = detail


class BundleError(FovealError):
    """A run folder or bundle that is missing, broken, or made by something else."""


class WeightsUnavailable(FovealError):
    """A backbone whose pretrained weights are not on this machine."""


class Interrupted(FovealError):
    """Stopped by a signal before the run was finished."""

    exit_code = 130

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 130) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
