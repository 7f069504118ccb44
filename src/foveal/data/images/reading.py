"""The content of one file of the user's: of a bounded size, and never waited for without end.

A regular file in a folder of a local disk is read directly. Anything else, such as a file behind a link or on a network
share, is read by a thread of its own, which is left behind when nothing arrives any more: a read that the system does
not answer can't be interrupted. Such threads are daemons, so they never keep a process from ending.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from foveal.errors import UnreadableImage

#: Larger files are refused. An image of 100 megapixels has 800 MB without compression, at 16 bits and four channels.
MAX_BYTES = 1 << 30
#: Seconds that a file system has to answer.
PATIENCE = 10.0

#: File systems that answer or fail, as Linux calls them.
_LOCAL = {
    *("ext2", "ext3", "ext4", "xfs", "btrfs", "bcachefs", "f2fs", "zfs", "jfs", "reiserfs", "tmpfs", "ramfs"),
    *("overlay", "squashfs", "erofs", "iso9660", "udf", "vfat", "exfat", "ntfs", "ntfs3", "hfsplus"),
}


@dataclass
class Reader:
    """Reads regular files, and remembers which reads hang.

    Attributes:
        patience: seconds without a single byte after which a file is given up; halved for each other file that
            still hangs.
        least_patience: seconds that are waited in any case.
        most_hanging: so many reads may hang; after that, only regular files on local disks are read.
        chunk: bytes that are read at once where it is unknown whether the file system answers.
        hanging: the threads of the reads that were given up.
    """

    patience: float = PATIENCE
    least_patience: float = 0.5
    most_hanging: int = 16
    chunk: int = 4 << 20
    hanging: set[threading.Thread] = field(default_factory=set)

    def read(self, path: str, *, limit: int = MAX_BYTES) -> bytes:
        """All of a regular file.

        Raises:
            UnreadableImage: `unreadable_file` (also when it is not a regular file), `too_large`, `changed`,
                `no_answer`.
            FileNotFoundError: when there is no such file.
        """
        try:
            folder = os.path.dirname(path)
            if _in_local_folder(folder if os.path.isabs(folder) else os.path.abspath(folder)):
                status = os.lstat(path)
                if not stat.S_ISLNK(status.st_mode):
                    return _read(path, limit, status)
            return _Watched(self, path, limit).content()
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        except (OSError, ValueError) as error:  # ValueError: a name with a null character
            words = getattr(error, "strerror", None) or str(error)
            raise UnreadableImage(path, "unreadable_file", words) from None
        except MemoryError:
            raise UnreadableImage(path, "too_large", "more than the memory that is left") from None


#: The reader of this process: a file system that hangs is known to all of its threads.
_READER = Reader()


def read_regular(path: str, *, limit: int = MAX_BYTES) -> bytes:
    """All of a regular file: see `Reader.read`."""
    return _READER.read(path, limit=limit)


def _read(
    path: str,
    limit: int,
    status: os.stat_result,
    *,
    chunk: int | None = None,
    on_chunk: Callable[[], None] = lambda: None,
) -> bytes:
    """Open, check what was opened, and read to the end that the file had then; all at once, or in chunks."""
    _check_regular(path, status)  # before it is opened: opening a device may have an effect
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        before = os.fstat(descriptor)
        _check_regular(path, before)
        left = before.st_size
        if left > limit:
            raise UnreadableImage(
                path, "too_large", f"{left / 1e9:.2f} GB, over the limit of {limit / 1e9:.2f} GB"
            )
        parts = []
        while left and (part := os.read(descriptor, min(left, chunk or left))):
            parts.append(part)
            left -= len(part)
            on_chunk()
        after = os.fstat(descriptor)
        if left or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise UnreadableImage(path, "changed", "the file changed while it was read")
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(descriptor)


def _check_regular(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImage(path, "unreadable_file", "not a regular file")


class _Watched:
    """One read in a thread of its own."""

    def __init__(self, reader: Reader, path: str, limit: int) -> None:
        self._reader, self._path, self._limit = reader, path, limit
        self._chunks = 0
        self._result: bytes | BaseException | None = None
        self._done = threading.Event()

    def content(self) -> bytes:
        """Wait for the content as long as some of it arrives."""
        reader, hanging = self._reader, self._reader.hanging
        hanging.difference_update([t for t in hanging.copy() if not t.is_alive()])
        if len(hanging) >= reader.most_hanging:
            raise UnreadableImage(self._path, "no_answer", "too many files did not answer before")
        patience = max(reader.least_patience, reader.patience / 2 ** len(hanging))
        thread = threading.Thread(target=self._run, daemon=True, name="foveal-read")
        thread.start()
        seen = 0
        while not self._done.wait(patience):
            if self._chunks == seen:
                hanging.add(thread)
                raise UnreadableImage(self._path, "no_answer", f"nothing arrived for {patience:g} s")
            seen = self._chunks
        assert self._result is not None
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result

    def _run(self) -> None:
        try:
            status, chunk = os.stat(self._path), self._reader.chunk
            self._result = _read(self._path, self._limit, status, chunk=chunk, on_chunk=self._count)
        except BaseException as error:  # handed on to the thread that waits
            self._result = error
        finally:
            self._done.set()

    def _count(self) -> None:
        self._chunks += 1


@lru_cache(maxsize=4096)
def _in_local_folder(folder: str) -> bool:
    """Whether a folder is on a file system that is known to answer; asked from a thread, since that may hang, too."""
    found: list[int] = []

    def ask() -> None:
        try:
            found.append(os.stat(folder).st_dev)
        except (OSError, ValueError):
            return

    thread = threading.Thread(target=ask, daemon=True, name="foveal-stat")
    thread.start()
    thread.join(PATIENCE)
    return bool(found) and found[0] in _local_devices()


@lru_cache(maxsize=1)
def _local_devices() -> frozenset[int]:
    """Device numbers of the local file systems; none where the system does not say."""
    devices = set()
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in mounts:
        head, _, tail = line.partition(" - ")
        fields, kind = head.split(), tail.split()[:1]
        if kind and kind[0] in _LOCAL and len(fields) > 2:
            major, _, minor = fields[2].partition(":")
            devices.add(os.makedev(int(major), int(minor)))
    return frozenset(devices)
