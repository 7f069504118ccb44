"""Images inside uncompressed tar files, read where they are: nothing is unpacked.

The member `key.jpg` of `/data/shard.tar` has the path `/data/shard.tar/key.jpg` throughout foveal. A shard's headers
are read once; what is kept of them takes some 60 bytes for each member: its name, offset and size.

A tar file may be hostile: a member's name is never a path on this machine, and headers are bounded in what they make
`tarfile` read.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from foveal.data.images.storage import is_file, open_binary, read_at, version_of
from foveal.errors import DataError, UnreadableImage

ENDING = ".tar"
#: Bytes that the headers of one member may have: long names and attributes.
MAX_HEADER = 1 << 16
#: Larger members are refused, as larger files are.
MAX_MEMBER = 1 << 30
#: Members of all shards whose places are kept; beyond it, those of shards not used for longest are dropped.
MAX_KEPT = 4_000_000

#: Why a member is not read: a reason code and words for people.
_PROBLEMS = {
    1: ("not_a_file", "a link, a device or a sparse file inside a tar file"),
    2: ("unsafe_name", "its name leads out of the tar file, or can't be written"),
    3: ("repeated_name", "the tar file has an earlier member of the same name"),
    4: ("truncated", "the tar file ends inside this member; what came after it is lost"),
    5: ("broken", "the header after the member before it is damaged; what comes after it is not read"),
    6: ("too_large", f"larger than {MAX_MEMBER >> 20} MiB"),
}
_LINK, _UNSAFE, _REPEATED, _TRUNCATED, _BROKEN, _LARGE = sorted(_PROBLEMS)


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a shard.

    Attributes:
        name: inside the shard.
        offset, size: of its content, bytes.
        problem: reason code and words, where it can't be read.
    """

    name: str
    offset: int
    size: int
    problem: tuple[str, str] | None = None


class TarIndex:
    """The members of one shard in their order, in compact form.

    Args:
        members: name as bytes, offset, size, number of the problem or 0.
    """

    def __init__(self, members: Iterator[tuple[bytes, int, int, int]]) -> None:
        names, ends, places, digests = io.BytesIO(), [0], [], []
        for name, offset, size, problem in members:
            names.write(name)
            ends.append(names.tell())
            places.append((offset, size, problem))
            digests.append(_digest(name))
        self._names = names.getvalue()
        self._ends: NDArray[np.int64] = np.array(ends, dtype=np.int64)
        self._places: NDArray[np.int64] = np.array(places, dtype=np.int64).reshape(-1, 3)
        plain: NDArray[np.uint64] = np.array(digests, dtype=np.uint64)
        self._order: NDArray[np.intp] = np.argsort(plain, kind="stable")
        self._sorted = plain[self._order]
        self._mark_repeated()

    def __len__(self) -> int:
        return len(self._places)

    def members(self) -> Iterator[Member]:
        """All of them, in the order of the shard."""
        return (self._member(i) for i in range(len(self)))

    def find(self, name: str) -> Member | None:
        """The first member of this name."""
        wanted = os.fsencode(name)
        for i in self._with_digest(_digest(wanted)):
            if self._name(i) == wanted:
                return self._member(i)
        return None

    def _with_digest(self, digest: int) -> list[int]:
        value = np.uint64(digest)
        first, last = np.searchsorted(self._sorted, value), np.searchsorted(self._sorted, value, side="right")
        return cast("list[int]", self._order[first:last].tolist())

    def _mark_repeated(self) -> None:
        for digest in np.unique(self._sorted[1:][self._sorted[1:] == self._sorted[:-1]]).tolist():
            seen: set[bytes] = set()
            for i in self._with_digest(digest):
                if self._name(i) in seen and not self._places[i, 2]:
                    self._places[i, 2] = _REPEATED
                seen.add(self._name(i))

    def _name(self, i: int) -> bytes:
        return self._names[self._ends[i] : self._ends[i + 1]]

    def _member(self, i: int) -> Member:
        offset, size, problem = self._places[i].tolist()
        return Member(os.fsdecode(self._name(i)), offset, size, _PROBLEMS.get(problem))


def is_tar(path: str) -> bool:
    """Whether a file is a tar shard by its name."""
    return path.lower().endswith(ENDING) and is_file(path)


def split_member(path: str) -> tuple[str, str] | None:
    """`/data/shard.tar/key.jpg` as shard and member; None for any other path."""
    end = path.lower().find(ENDING + "/")
    if end < 0:
        return None
    shard, name = path[: end + len(ENDING)], path[end + len(ENDING) + 1 :]
    return (shard, name) if name and is_file(shard) else None


def members_of(shard: str) -> Iterator[Member]:
    """The members of a shard in order, folders left out; a damaged place is the last, and has a `problem`.

    Raises:
        DataError: when the file can't be read, or is not an uncompressed tar file.
    """
    return _index(shard).members()


def read_member(shard: str, name: str) -> bytes | None:
    """The content of one member; None when there is no such member.

    Raises:
        UnreadableImage: for a member that can't be read.
        DataError: as `members_of`.
    """
    member = _index(shard).find(name)
    if member is None:
        return None
    path = f"{shard}/{name}"
    if member.problem is not None:
        raise UnreadableImage(path, *member.problem)
    content = read_at(shard, member.offset, member.size)
    if len(content) != member.size:
        raise UnreadableImage(path, *_PROBLEMS[_TRUNCATED])
    return content


#: Indexes by path, size and time of change, the least recently used first.
_kept: OrderedDict[tuple[str, int, int], TarIndex] = OrderedDict()
_lock = threading.Lock()
#: Shards that are being read, each under a lock of its own.
_reading: dict[tuple[str, int, int], threading.Lock] = {}


def _index(shard: str) -> TarIndex:
    key = (shard, *version_of(shard))
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
        turn = _reading.setdefault(key, threading.Lock())
    with turn:
        with _lock:
            if key in _kept:
                return _kept[key]
        index = TarIndex(_walk(shard, key[1]))
        with _lock:
            _kept[key] = index
            _reading.pop(key, None)
            while sum(map(len, _kept.values())) > MAX_KEPT and len(_kept) > 1:
                _kept.popitem(last=False)
    return index


class _Bounded:
    """The part of a file object that `tarfile` needs for headers; refuses to read more than a header has."""

    def __init__(self, file: IO[bytes], shard: str) -> None:
        self._file, self._shard = file, shard
        self.left = MAX_HEADER
        self.at = ""

    def read(self, size: int = -1) -> bytes:
        self.left -= size
        if size < 0 or self.left < 0:
            after = f" after {self.at!r}" if self.at else ""
            raise DataError(
                f"{self._shard}: a header{after} of more than {MAX_HEADER >> 10} KiB",
                hint="is it a tar of images?",
            )
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _walk(shard: str, total: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Name, offset, size and problem of each member, and of the place where the file is damaged."""
    with closing(open_binary(shard)) as file:
        bounded = _Bounded(file, shard)
        try:
            # Not to be closed: it holds nothing but the file.
            archive = tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r:", errorlevel=2)  # noqa: SIM115
        except (tarfile.TarError, ValueError, OverflowError) as error:
            hint = "a compressed one is unpacked by `train`; shards are plain .tar files"
            raise DataError(f"{shard}: not an uncompressed tar file: {error}", hint=hint) from None
        end = 0
        while True:
            bounded.left = MAX_HEADER
            try:
                info = archive.next()
            except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError):
                yield _damage(end, _BROKEN)
                return
            archive.members.clear()  # type: ignore[attr-defined]  # which would grow without end
            if info is None:
                break
            name = _encoded(info.name)
            bounded.at = info.name[:80]
            end = info.offset_data + (info.size if info.isreg() and not info.issparse() else 0)
            if info.size < 0:
                yield _damage(info.offset, _BROKEN)
                return
            if end > total:
                yield name, info.offset_data, info.size, _TRUNCATED
                return
            if not info.isdir():
                yield name, info.offset_data, info.size, _problem(info, name)
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # `tarfile` takes a damaged header for the end
            yield _damage(archive.offset, _BROKEN)


def _encoded(name: str) -> bytes:
    try:
        return os.fsencode(name)
    except UnicodeEncodeError:  # half a surrogate, in a header that claims to be UTF-8
        return name.encode("utf-8", "backslashreplace")


def _damage(offset: int, problem: int) -> tuple[bytes, int, int, int]:
    """A place that can't be read, under a name of its own."""
    return f"(damaged at byte {offset})".encode(), offset, 0, problem


def _problem(info: tarfile.TarInfo, name: bytes) -> int:
    if not info.isreg() or info.issparse():
        return _LINK
    parts = name.replace(b"\\", b"/").split(b"/")
    if name.startswith((b"/", b"\\")) or b".." in parts or b"\0" in name or b":" in parts[0] or not name:
        return _UNSAFE
    return _LARGE if info.size > MAX_MEMBER else 0


def _digest(name: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
