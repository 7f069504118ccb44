"""Records of earlier scans by content, so that a second scan of a folder decodes nothing again.

One SQLite file in the cache folder, which can be deleted at any time. Refusals are not cached: files that could
not be read are tried again.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import PIL
from msgspec import Meta

from foveal.errors import FovealError
from foveal.files import cache_dir, cannot_write, canonical, digest_of, loads
from foveal.schema import Finite, Level, Positive, checked, is_signed
from foveal.values import ImageRecord

#: Larger files are deleted and started again: about 300,000 images.
MAX_BYTES = 512 << 20
#: So many new records, about 3 MB, are written in one transaction.
_WRITTEN_TOGETHER = 2048
#: Increased whenever the definition of a measure, or of a refusal, changes.
_VERSION = 2
#: The fields of a record that follow from the content alone.
FIELDS = (
    *("width", "height", "phash", "thumb", "brightness", "contrast", "sharpness", "camera", "taken_at"),
    "several_frames",
)


class RecordCache:
    """SHA-256 of a file to its measures, for one way of measuring.

    A damaged cache, or a disk that can't be written, costs time only.

    Args:
        key: everything except the content that the measures depend on.
    """

    def __init__(self, key: object) -> None:
        self._space = digest_of([_VERSION, PIL.__version__, key])
        self._lock = threading.Lock()
        self._new: dict[str, str] = {}
        self._path = cache_dir() / "measured.sqlite3"
        self._base = _open(self._path)

    def get(self, sha256s: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The fields `FIELDS` of the record of each of these contents that is cached."""
        if self._base is None or not sha256s:
            return {}
        rows: list[tuple[Any, Any]] = []
        places = ", ".join("?" * len(sha256s))
        with self._lock, self._whole_or_dropped(self._base):
            rows = self._base.execute(
                f"SELECT sha256, record FROM measured WHERE space = ? AND sha256 IN ({places})",
                (self._space, *sha256s),
            ).fetchall()
        stored = {bytes(sha256).decode("ascii", "replace"): record for sha256, record in rows}
        found = {sha256: _fields(record, self._space, sha256) for sha256, record in stored.items()}
        return {sha256: fields for sha256, fields in found.items() if fields is not None}

    def add(self, record: ImageRecord) -> None:
        """Add a record; it is written with others, at the latest by `flush`."""
        values = {name: getattr(record, name) for name in FIELDS}
        values["thumb"] = base64.b64encode(record.thumb).decode()
        of = {"space": self._space, "of": record.sha256}
        row = _signed_text({**values, **of})
        with self._lock:
            self._new[record.sha256] = row
            if len(self._new) >= _WRITTEN_TOGETHER:
                self._write()

    def flush(self) -> None:
        """Write what is new."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        # In the order of the key, so that rows of one page are written together.
        rows = [(self._space, sha256, record) for sha256, record in sorted(self._new.items())]
        self._new.clear()
        if self._base is not None and rows:
            with self._whole_or_dropped(self._base), self._base:
                self._base.executemany("INSERT OR REPLACE INTO measured VALUES (?, ?, ?)", rows)

    @contextlib.contextmanager
    def _whole_or_dropped(self, base: sqlite3.Connection) -> Iterator[None]:
        """Around what is asked of the database: one that is damaged goes, and the next process begins another."""
        try:
            yield
        except sqlite3.OperationalError as error:  # locked for long, or a full disk
            cannot_write(OSError(errno.EIO, str(error)))
        except sqlite3.Error:
            base.close()
            self._base = None
            with contextlib.suppress(OSError):
                self._path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Write what is new, and close the file."""
        self.flush()
        if self._base is not None:
            self._base.close()
            self._base = None


def _signed_text(values: dict[str, Any]) -> str:
    """What `signed` gives, as JSON; encoded once, since there is one for each image."""
    text = canonical(values)
    return f'{text[:-1]},"sha256":"{hashlib.sha256(text.encode()).hexdigest()}"}}'


@dataclass(frozen=True)
class _Measured:
    """The fields of a record, with their ranges, and what they are of."""

    width: Positive
    height: Positive
    phash: Annotated[int, Meta(ge=0)]  # 64 bits
    thumb: str
    brightness: Level
    contrast: Level
    sharpness: Annotated[float, Meta(ge=0, le=1e12)]
    camera: str | None
    taken_at: Finite | None
    several_frames: bool
    space: str
    of: str


def _fields(text: Any, space: str, sha256: str) -> dict[str, Any] | None:  # noqa: ANN401
    """The fields of a stored record; None when it is not what was stored for this content."""
    try:
        values = loads(text)
        if not is_signed(values) or (values.get("space"), values.get("of")) != (space, sha256):
            return None
        del values["sha256"]
        known: _Measured = checked(values, _Measured, "measured")
        fields = {name: getattr(known, name) for name in FIELDS}
        return fields | {"thumb": base64.b64decode(known.thumb, validate=True)}
    except (ValueError, TypeError, FovealError):
        return None


def _open(path: Path) -> sqlite3.Connection | None:
    """The database, created again where it is damaged or too large; None where nothing can be written."""
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.rmtree(path)
            if path.exists() and path.stat().st_size > MAX_BYTES:
                path.unlink()
            base = sqlite3.connect(path, timeout=5, check_same_thread=False)
        except OSError as error:
            cannot_write(error)
            return None
        except sqlite3.Error as error:
            cannot_write(OSError(errno.EIO, str(error)))
            return None
        try:
            base.text_factory = bytes  # text that is damaged may not be UTF-8
            base.execute("PRAGMA synchronous = OFF")  # a lost row is measured again
            base.execute(
                "CREATE TABLE IF NOT EXISTS measured "
                "(space TEXT, sha256 TEXT, record TEXT, PRIMARY KEY (space, sha256)) WITHOUT ROWID"
            )
            return base
        except sqlite3.OperationalError as error:  # locked for long, or a folder that can't be written
            base.close()
            cannot_write(OSError(errno.EIO, str(error)))
            return None
        except sqlite3.DatabaseError:
            base.close()
            with contextlib.suppress(OSError):
                path.unlink()
    return None
