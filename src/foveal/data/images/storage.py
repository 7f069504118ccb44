"""Where shards lie: a local disk, or an object store by way of pyarrow's own file systems or fsspec's.

`s3://`, `gs://`, `gcs://` and `hdfs://` are opened by pyarrow; any other scheme, such as `memory://`, by fsspec. Local
files are opened for each read, so that nothing has to be closed; remote ones stay open while they are in use.
"""

from __future__ import annotations

import glob
import io
import os
import re
from functools import lru_cache
from typing import IO, Any, cast

from foveal.errors import DataError

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
#: Schemes of the web: what is there is downloaded by the user.
_WEB = {"http", "https", "ftp", "file"}
_PYARROW = {"s3", "gs", "gcs", "hdfs", "viewfs"}
#: Bytes that are read at once of a remote shard while its headers are read.
_BUFFER = 4 << 20
#: `train-{000..014}.tar`, as WebDataset names many shards.
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST = 1_000_000


def is_remote(path: str) -> bool:
    """Whether a path is the address of something in an object store."""
    match = _SCHEME.match(path)
    return match is not None and match[1].lower() not in _WEB


def version_of(path: str) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds: whether a file is still what was read.

    Of a remote file it is asked once in a process: a request for each image would be too slow.

    Raises:
        DataError: when there is no such file, or it can't be reached.
    """
    if is_remote(path):
        return _remote_version(path)
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unreachable(path, error) from None
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1 << 16)
def _remote_version(path: str) -> tuple[int, int]:
    system, inner = _system(path)
    try:
        info = system.get_file_info(inner)
    except OSError as error:
        raise _unreachable(path, error) from None
    if info.size is None:
        raise DataError(f"{path}: no such file", hint="check the address")
    return int(info.size), int(info.mtime_ns or 0)


def is_file(path: str) -> bool:
    """Whether there is such a file; of a remote one it is not asked, since that takes a request each time."""
    return is_remote(path) or os.path.isfile(path)


def open_binary(path: str) -> IO[bytes]:
    """A file to read from any position.

    Raises:
        DataError: when it can't be opened.
    """
    try:
        if is_remote(path):
            system, inner = _system(path)
            raw = system.open_input_file(inner)
            return cast("IO[bytes]", io.BufferedReader(raw, _BUFFER))
        return open(path, "rb")
    except OSError as error:
        raise _unreachable(path, error) from None


def open_arrow(path: str) -> Any:  # noqa: ANN401
    """A file as pyarrow reads it.

    Raises:
        DataError: when it can't be opened.
    """
    import pyarrow

    try:
        if not is_remote(path):
            return pyarrow.OSFile(path)
        system, inner = _system(path)
        return system.open_input_file(inner)
    except OSError as error:
        raise _unreachable(path, error) from None


def read_at(path: str, offset: int, size: int) -> bytes:
    """So many bytes from a position; fewer where the file ends.

    Raises:
        DataError: when it can't be read.
    """
    try:
        if is_remote(path):
            return bytes(_opened(path).read_at(size, offset))
        with open(path, "rb", buffering=0) as handle:
            handle.seek(offset)
            parts = []
            while size and (part := handle.read(size)):
                parts.append(part)
                size -= len(part)
            return b"".join(parts)
    except OSError as error:
        raise _unreachable(path, error) from None


def named_files(pattern: str) -> list[str]:
    """The files that a name stands for, sorted: `x-{00..09}.tar` and `x-*.tar`, or the name itself.

    Raises:
        DataError: when a file store can't be reached, or the braces name too many files.
    """
    if _BRACES.search(pattern):
        return [name for each in _expanded(pattern) for name in named_files(each)]
    if not glob.has_magic(pattern) or os.path.exists(pattern):
        return [pattern]
    if not is_remote(pattern):
        return sorted(glob.glob(pattern))
    from fnmatch import fnmatchcase

    folder, _, name = pattern.rpartition("/")
    return [p for p in _listed(folder) if fnmatchcase(p.rpartition("/")[2], name)]


def _expanded(pattern: str) -> list[str]:
    match = _BRACES.search(pattern)
    assert match is not None
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < _MOST:
        raise DataError(f"{pattern}: braces from {first} to {last}", hint="as in train-{000..014}.tar")
    width = len(match[1]) if match[1].startswith("0") else 0
    return [f"{pattern[: match.start()]}{i:0{width}d}{pattern[match.end() :]}" for i in range(first, last + 1)]


def _listed(folder: str) -> list[str]:
    from pyarrow import fs

    system, inner = _system(folder)
    try:
        infos = system.get_file_info(fs.FileSelector(inner))
    except OSError as error:
        raise _unreachable(folder, error) from None
    return sorted(f"{folder}/{info.base_name}" for info in infos if info.is_file)


@lru_cache(maxsize=8)
def _opened(path: str) -> Any:  # noqa: ANN401
    system, inner = _system(path)
    return system.open_input_file(inner)


def _system(path: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    scheme, _, rest = path.partition("://")
    bucket = rest.partition("/")[0]
    if scheme.lower() in _PYARROW:
        return _native(scheme.lower(), bucket), rest
    return _by_fsspec(scheme.lower()), rest


@lru_cache(maxsize=8)
def _native(scheme: str, bucket: str) -> Any:  # noqa: ANN401
    from pyarrow import fs

    try:
        return fs.FileSystem.from_uri(f"{scheme}://{bucket}")[0]
    except (OSError, ValueError) as error:
        raise _unreachable(f"{scheme}://{bucket}", error) from None


@lru_cache(maxsize=8)
def _by_fsspec(scheme: str) -> Any:  # noqa: ANN401
    from pyarrow import fs

    try:
        import fsspec

        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ImportError, ValueError) as error:
        hint = "s3:// and gs:// need nothing more; others what fsspec says"
        raise DataError(f"{scheme}://: {error}", hint=hint) from None


def _unreachable(path: str, error: Exception) -> DataError:
    words = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    return DataError(f"{path}: {words}", hint="can you read this file?")
