"""Records of earlier scans by content, so that a second scan of a folder decodes nothing again.

One SQLite file in the cache folder, which can be deleted at any time. Refusals are not cached: files that could
not be read are tried again.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import PIL

from foveal.files import cache_dir, digest_of
from foveal.values import ImageRecord

#: Larger files are deleted and started again: about 300,000 images.
MAX_BYTES = 512 << 20
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
        self._base = _open(cache_dir() / "measured.sqlite3")

    def get(self, sha256: str) -> dict[str, Any] | None:
        """The fields `FIELDS` of a record; None when this content is not cached."""
        if self._base is None:
            return None
        with self._lock, contextlib.suppress(sqlite3.Error, ValueError, KeyError):
            row = self._base.execute(
                "SELECT record FROM measured WHERE space = ? AND sha256 = ?", (self._space, sha256)
            ).fetchone()
            return None if row is None else _fields(json.loads(row[0]))
        return None

    def add(self, record: ImageRecord) -> None:
        """Add a record; `flush` writes it."""
        values = {name: getattr(record, name) for name in FIELDS}
        values["thumb"] = base64.b64encode(record.thumb).decode()
        with self._lock:
            self._new[record.sha256] = json.dumps(values)

    def flush(self) -> None:
        """Write what is new."""
        with self._lock:
            rows = [(self._space, sha256, record) for sha256, record in self._new.items()]
            self._new.clear()
            if self._base is not None and rows:
                with contextlib.suppress(sqlite3.Error), self._base:
                    self._base.executemany("INSERT OR REPLACE INTO measured VALUES (?, ?, ?)", rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Write what is new, and close the file."""
        self.flush()
        if self._base is not None:
            self._base.close()
            self._base = None


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in FIELDS} | {"thumb": base64.b64decode(values["thumb"])}


def _open(path: Path) -> sqlite3.Connection | None:
    """The database, created again where it is damaged or too large; None where nothing can be written."""
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > MAX_BYTES:
                path.unlink()
            base = sqlite3.connect(path, timeout=5, check_same_thread=False)
        except (OSError, sqlite3.Error):
            return None
        try:
            base.execute("PRAGMA synchronous = OFF")  # a lost row is measured again
            base.execute(
                "CREATE TABLE IF NOT EXISTS measured "
                "(space TEXT, sha256 TEXT, record TEXT, PRIMARY KEY (space, sha256)) WITHOUT ROWID"
            )
            return base
        except sqlite3.OperationalError:  # locked for long, or a folder that can't be written
            base.close()
            return None
        except sqlite3.DatabaseError:
            base.close()
            with contextlib.suppress(OSError):
                path.unlink()
    return None
