"""Files and folders that the user names for output. They are checked before the work that fills them.

What foveal did not write is never replaced, and a target is checked before predictions are computed.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from foveal.errors import UsageError
from foveal.files import replacing

#: Names by which a file option can mean stdout.
_STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def names_stdout(out: Path) -> bool:
    """Whether an output option names stdout rather than a file."""
    return str(out) in _STDOUT


def check_file(
    out: Path,
    *,
    is_ours: Callable[[Path], bool],
    inputs: Iterable[str | os.PathLike[str]] = (),
    overwrite: bool = False,
    makes_folder: bool = False,
    hint: str = "give another name",
) -> None:
    """Refuse to write a file where that would destroy something, or can't succeed. Links are followed.

    Args:
        out: the file, as the user named it; it need not exist.
        is_ours: whether foveal wrote an existing file: only such a file, or an empty one, is replaced.
        inputs: files that are read for the output; they are looked at only if `out` exists.
        overwrite: whether the user allows to replace other files. Inputs are kept all the same.
        makes_folder: whether its folder is foveal's own, and made with it.
        hint: what the user can do about an existing file.

    Raises:
        UsageError: when `out` is an input, a file of somebody else, no regular file, in a folder that does not exist,
            or can't be written.
    """
    try:
        status = out.stat()
    except (FileNotFoundError, NotADirectoryError):
        status = None
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}", hint=hint) from None
    if status is not None:
        _check_kind(out, status)
        if any(_is_same(status, each) for each in inputs):
            raise UsageError(f"{out} is one of the inputs", hint="give the output another name")
        if status.st_size and not overwrite and not is_ours(out):
            raise UsageError(f"{out} exists, and it is not a file that foveal wrote", hint=hint)
        if not os.access(out, os.W_OK):
            raise UsageError(f"{out} is write-protected", hint=hint)
    folder = Path(os.path.realpath(out)).parent
    if not makes_folder and not os.path.lexists(folder):
        raise UsageError(
            f"{out}: there is no folder {folder}",
            hint=f"is it spelt as you meant? make it first: mkdir -p {folder}",
        )
    _check_place(out, folder)


def check_folder(out: Path, *, empty: bool = False) -> None:
    """Refuse a folder for output that can't be written to. A link to a folder that is missing is followed.

    Args:
        out: the folder; it need not exist.
        empty: whether it must be new or empty.

    Raises:
        UsageError: when it is not a folder, not empty although it must be, or can't be written to.
    """
    hint = "give another folder"
    try:
        if out.is_symlink() and not out.exists():
            Path(os.path.realpath(out)).mkdir(parents=True)
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is not a folder", hint=hint)
        if empty and out.exists() and any(out.iterdir()):
            raise UsageError(f"{out} is not empty", hint="give a new folder")
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}", hint=hint) from None
    _check_place(out, Path(os.path.realpath(out)))


@contextmanager
def saving(target: Path, on_partial: Callable[[Path], None]) -> Iterator[Path]:
    """As `foveal.files.replacing`; but when the block fails, what it has written by then stays.

    Args:
        target: the file.
        on_partial: told where that is: `NAME.partial.SUFFIX`, with a number where this exists.
    """
    with replacing(target) as part:
        try:
            yield part
        except BaseException:  # a signal, too
            if part.exists() and part.stat().st_size:
                rest = _partial_name(target)
                part.replace(rest)
                on_partial(rest)
            raise


def _partial_name(target: Path) -> Path:
    names = (f"{target.stem}.partial{f'-{n}' if n > 1 else ''}{target.suffix}" for n in count(1))
    return next(path for path in map(target.with_name, names) if not os.path.lexists(path))


def _check_kind(out: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{out} is a folder", hint="name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(
            f"{out} is not a regular file", hint="give a file, or print to stdout and use a pipe or a redirection"
        )


def _is_same(status: os.stat_result, path: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samestat(status, os.stat(path))
    except (OSError, ValueError):
        return False


def _check_place(out: Path, folder: Path) -> None:
    """Refuse a folder in which no file can be made; for one that does not exist, the nearest one above it counts."""
    try:
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"{out} can't be written: {error.strerror} ({folder})", hint="give another place"
        ) from None
