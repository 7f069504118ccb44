"""Folders below the cache that are written once, whole or not at all."""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foveal.errors import DataError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill, beside the final one, which it becomes in one rename at the end."""
    with temporary_beside(folder) as part:
        yield part
        settle(part, folder)


@contextmanager
def temporary_beside(folder: Path) -> Iterator[Path]:
    """A temporary folder next to where its content is going to be; removed at the end if it is still there.

    Raises:
        DataError: when the cache can't be written, or is full.
    """
    part = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise _not_writable(folder.parent, error) from None
    try:
        yield part
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise _not_writable(folder.parent, error) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def settle(part: Path, folder: Path) -> None:
    """Give a temporary folder its final name; where another process was faster, that one's is kept."""
    try:
        part.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _not_writable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{folder}: the cache can't be written: {error.strerror}",
        hint="set FOVEAL_CACHE to a folder with enough room",
    )
