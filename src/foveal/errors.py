"""All exceptions that foveal raises deliberately.

    FovealError                 base class; `exit_code` is the exit code of the command line
    ├── UsageError              invalid arguments or settings
    │   ├── UnknownName         a name that does not exist; suggests the closest one
    │   └── MemoryShort         does not fit into the memory limit
    ├── DataError               data that cannot be read or trained on
    │   └── UnreadableImage     one image that was refused; runs continue without it
    ├── BundleError             a run folder or bundle that is missing, damaged or incompatible
    ├── WeightsUnavailable      a backbone whose pretrained weights are not on this machine
    └── Interrupted             stopped by a signal before the run was finished

Each has a `hint` that says what the user can do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

#: A hint lists all known names up to so many characters, otherwise those nearest to what was typed.
_LISTED, _NEAREST = 300, 5
#: Names of more characters are cut in messages.
_LONGEST = 80


#: The hint where a URL is given in place of a file.
URL_HINT = "download it first, then give the file or the folder"


def is_url(text: str) -> bool:
    """Whether a text is a web address and no path."""
    return re.match(r"(?:https?|ftp|s3|gs)://", text, re.IGNORECASE) is not None


class FovealError(Exception):
    """Base class of all exceptions that foveal raises deliberately."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Errors travel between processes (joblib, multiprocessing), whatever their constructors take."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[FovealError], args: tuple[object, ...], state: dict[str, object]) -> FovealError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(FovealError, ValueError):
    """Invalid arguments or settings. A `ValueError` as well, which is what scikit-learn's users catch."""


class UnknownName(UsageError):
    """A name that does not exist; `near` is the closest one that does, or None."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(set(known))
        near = _nearest(name, names, 1, cutoff=0.6)
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif len(listed := ", ".join(names)) <= _LISTED:
            hint = f"known: {listed or 'none'}"
        else:
            closest = ", ".join(_nearest(name, names, _NEAREST, cutoff=0.0))
            hint = f"the nearest of {len(names)} known names: {closest}"
        shown = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        super().__init__(f"unknown {kind} {shown!r}", hint=hint)
        self.near = near[0] if near else None


def known_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The known name that was meant: capitals, hyphens, underscores and spaces do not count.

    Raises:
        UnknownName: when there is none.
    """
    names = list(known)
    if name in names:
        return name
    for candidate in names:
        if _plain(candidate) == _plain(name):
            return candidate
    raise UnknownName(kind, name, names)


def _plain(name: str) -> str:
    return re.sub(r"[-_\s]", "", name.casefold())


def _nearest(name: str, names: list[str], count: int, *, cutoff: float) -> list[str]:
    """The known names most like one, the nearest first."""
    by_plain = {_plain(known): known for known in reversed(names)}
    typed = _plain(name[:_LONGEST])
    return [by_plain[found] for found in difflib.get_close_matches(typed, by_plain, n=count, cutoff=cutoff)]


class MemoryShort(UsageError):
    """Does not fit into the memory limit."""


class DataError(FovealError):
    """Data that cannot be read or trained on."""


class UnreadableImage(DataError):
    """One image that was refused; `code` is the reason, one of those in `data/images/decode.py`."""

    def __init__(self, path: str, code: str, detail: str) -> None:
        hint = "check the path" if code == "missing" else "open it with another program; then convert or remove it"
        super().__init__(f"{path}: {detail}", hint=hint)
        self.path = path
        self.code = code
        self.detail = detail


class BundleError(FovealError):
    """A run folder or bundle that is missing, damaged or incompatible."""


class WeightsUnavailable(FovealError):
    """A backbone whose pretrained weights are not on this machine."""


class Interrupted(FovealError):
    """Stopped by a signal before the run was finished."""

    exit_code = 130

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 130) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
