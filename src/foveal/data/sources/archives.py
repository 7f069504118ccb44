"""A zip or tar file as DATA: unpacked once into the cache, never beside the user's file.

Members are written by name into a new folder, as regular files and folders only: names that lead out of it, links,
devices and encrypted members are refused, and so is more than a data set can hold.
"""

from __future__ import annotations

import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from foveal.data.sources.cached_folder import written_whole
from foveal.errors import DataError
from foveal.files import cache_dir, sha256_of

#: Limits of what an archive may unpack to.
MAX_FILES = 2_000_000
MAX_BYTES = 200 << 30
#: A zip may not unpack to more than this many times its own size beyond the first bytes: images hardly shrink.
MAX_RATIO = 200
_FREE_OF_RATIO = 64 << 20
_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
_CHUNK = 1 << 20

#: Name of a member, and what opens it; None for a folder.
_Member = tuple[str, Callable[[], IO[bytes] | None] | None]


def is_archive(path: str) -> bool:
    """Whether a file is an archive by its name."""
    return path.lower().endswith(_ENDINGS) and os.path.isfile(path)


def unpack_archive(path: str, *, max_files: int = MAX_FILES) -> Path:
    """The folder that an archive is unpacked into, in the cache, named by its content.

    Args:
        path: of the archive.
        max_files: members that it may have.

    Raises:
        DataError: when it is damaged, or holds something that is not unpacked.
    """
    try:
        digest = sha256_of(Path(path))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint="can you read this file?") from None
    name = os.path.basename(path).split(".")[0] or "archive"
    folder = cache_dir() / "archives" / digest[:16] / name
    if not folder.is_dir():
        with written_whole(folder) as part:
            try:
                _write(path, part, max_files)
            except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as error:
                raise DataError(f"{path}: {error}", hint="the archive is damaged: fetch it again") from None
            except (RuntimeError, NotImplementedError) as error:  # encrypted, or an unknown compression
                raise DataError(f"{path}: {error}", hint="unpack it yourself and give the folder") from None
    return folder


def _write(path: str, folder: Path, max_files: int) -> None:
    most = min(MAX_BYTES, _FREE_OF_RATIO + MAX_RATIO * os.path.getsize(path))
    written = 0
    members = _zip_members(path) if path.lower().endswith(".zip") else _tar_members(path)
    with closing(members):
        for number, (name, opened) in enumerate(members):
            if number >= max_files:
                raise _refused(path, name, f"more than {max_files} files")
            target = folder / _inner(path, name)
            (target if opened is None else target.parent).mkdir(parents=True, exist_ok=True)
            content = opened() if opened is not None else None
            if content is not None:
                with content:
                    written += _copy(content, target, path, most - written)


def _copy(content: IO[bytes], target: Path, path: str, most: int) -> int:
    """Write one member; the number of its bytes."""
    written = 0
    with target.open("wb") as handle:
        while chunk := content.read(_CHUNK):
            written += len(chunk)
            if written > most:
                raise _refused(path, target.name, "the archive unpacks to far more than images do")
            handle.write(chunk)
    return written


def _inner(path: str, name: str) -> PurePosixPath:
    """The relative path of a member.

    Raises:
        DataError: when it leads out of the folder.
    """
    inner = PurePosixPath(name.replace("\\", "/"))
    if inner.is_absolute() or ".." in inner.parts or ":" in inner.parts[:1] or "\0" in name:
        raise _refused(path, name, "its name leads out of the folder")
    return inner


def _zip_members(path: str) -> Generator[_Member, None, None]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = info.external_attr >> 28  # of the file mode of Unix, where there is one
            if kind not in (0, 0o04, 0o10):
                raise _refused(path, info.filename, "a link or a device")
            yield info.filename, None if info.is_dir() else partial(archive.open, info)


def _tar_members(path: str) -> Generator[_Member, None, None]:
    with tarfile.open(path, errorlevel=2) as archive:
        for info in archive:
            if not (info.isfile() or info.isdir()):
                raise _refused(path, info.name, "a link or a device")
            yield info.name, None if info.isdir() else partial(archive.extractfile, info)


def _refused(path: str, name: str, why: str) -> DataError:
    return DataError(
        f"{path}: {name[:80]!r}: {why}", hint="unpack it yourself, if you trust it, and give the folder"
    )
