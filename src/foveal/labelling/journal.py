"""The journal beside the CSV: one line of JSON for each action, flushed to disk before the action is answered.

A process that is killed leaves at most one incomplete line, at the end, which is dropped when the file is read again.
The journal is what groups, undo and progress are restored from; the labels themselves are in the CSV as well. Each
version of the CSV is noted by its digest before it is written, so that an edit by another program is recognised.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from foveal.errors import DataError, UsageError
from foveal.files import dumps, loads
from foveal.labelling.state import History, Patch

_HEAD = {"foveal": "labels", "schema": 1}
#: Versions of the CSV that a kill may have left: the last one that was noted, or the one before.
_VERSIONS = 2


class Journal:
    """The journal of one CSV; used as a context manager, by one process at a time.

    Args:
        table: the CSV.

    Attributes:
        history: what the journal says, restored when it is opened.
        known_tables: digests of the last versions of the CSV.

    Raises:
        UsageError: when it can't be written, or another process has it.
        DataError: when the file is something else, or damaged elsewhere than at its end.
    """

    def __init__(self, table: Path) -> None:
        self.path = table.with_name(f"{table.name}.journal")
        self.history = History()
        self.known_tables: list[str] = []
        self._lock = FileLock(table.with_name(f".{table.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"{table}: another `foveal label` writes it", hint="stop that one, or give --out FILE"
            ) from None
        except OSError as error:
            raise UsageError(f"{table}: {error.strerror}", hint="give another file with --out") from None
        try:
            self._stream = self.path.open("a+b")
            self._restore()
        except OSError as error:
            self._lock.release()
            raise UsageError(f"{self.path}: {error.strerror}", hint="give another file with --out") from None
        except BaseException:
            self._stream.close()
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file.

        The lock file stays: a process that has just opened it would otherwise lock a file that no other one finds.
        """
        self._stream.close()
        self._lock.release()

    def do(self, patch: Patch) -> None:
        """Note a patch, then change the state."""
        self._append(patch.to_dict())
        self.history.do(patch)

    def undo(self) -> bool:
        """Take back the last thing that a person did; whether there was one."""
        if self.history.last is None:
            return False
        self._append({"undo": True})
        return self.history.undo()

    def note_table(self, sha256: str) -> None:
        """Note a version of the CSV that is about to be written."""
        self._append({"table": sha256})
        self.known_tables = [*self.known_tables, sha256][-_VERSIONS:]

    def _append(self, line: Mapping[str, Any]) -> None:
        self._stream.write(dumps(line).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _restore(self) -> None:
        self._stream.seek(0)
        content = self._stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole:
            if content and not json.dumps(_HEAD).encode().startswith(content):
                raise self._damaged("is not the journal of `foveal label`")
            self._stream.truncate(0)
            self._append(_HEAD)
            return
        self._stream.truncate(len(whole))
        head, *lines = whole.splitlines()
        try:
            if loads(head) != _HEAD:
                raise self._damaged("is not the journal of `foveal label`, or of another version")
        except ValueError:
            raise self._damaged("is not the journal of `foveal label`") from None
        for number, line in enumerate(lines, 2):
            try:
                self._take(loads(line))
            except (ValueError, KeyError, TypeError, DataError) as error:
                raise self._damaged(f"line {number} is damaged ({error})") from None

    def _take(self, line: Any) -> None:  # noqa: ANN401
        if "undo" in line:
            self.history.undo()
        elif "table" in line:
            self.known_tables = [*self.known_tables, str(line["table"])][-_VERSIONS:]
        else:
            self.history.do(Patch.from_dict(line))

    def _damaged(self, words: str) -> DataError:
        return DataError(
            f"{self.path} {words}",
            hint="move it away: labels are read from the CSV then; or give another file with --out",
        )
