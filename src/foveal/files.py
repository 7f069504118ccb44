"""Atomic file writes, strict JSON, digests, and foveal's own folders.

foveal writes to three places only: the run folder, the cache folder (can be deleted at any time) and the state
folder (the ledger of test evaluations). It never writes to the user's data.
"""

from __future__ import annotations

import atexit
import csv
import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import platformdirs


def cache_dir() -> Path:
    """The folder for data that can be recomputed (override: `FOVEAL_CACHE`)."""
    return Path(os.environ.get("FOVEAL_CACHE") or platformdirs.user_cache_dir("foveal", appauthor=False))


def state_dir() -> Path:
    """The folder for data that must persist (override: `FOVEAL_STATE`)."""
    return Path(os.environ.get("FOVEAL_STATE") or platformdirs.user_state_dir("foveal", appauthor=False))


#: Folders that could not be written, of which the user was told.
_TOLD: set[str] = set()


def cannot_write(error: Exception, *, state: bool = False) -> None:
    """Say, once, that the cache folder can't be written, or the state folder: a run goes on without it."""
    folder, variable = (state_dir(), "FOVEAL_STATE") if state else (cache_dir(), "FOVEAL_CACHE")
    told = f"{variable}={folder}"
    if told in _TOLD:
        return
    _TOLD.add(told)
    import logging  # a handler is the application's choice; without one, warnings go to stderr

    lost = "test evaluations are not counted" if state else "what it would keep is computed again next time"
    reason = getattr(error, "strerror", None) or error
    words = f"{folder} can't be written ({reason}): {lost}; set {variable} to another folder"
    logging.getLogger("foveal").warning(words)


@cache
def process_folder() -> Path:
    """A temporary folder that is removed when this process ends: for what the cache folder has no room for."""
    folder = Path(tempfile.mkdtemp(prefix="foveal-"))
    atexit.register(remove_process_folder)
    return folder


def remove_process_folder() -> None:
    """Remove it, if there is one, before this process ends in a way that does nothing at exit."""
    if process_folder.cache_info().currsize:
        shutil.rmtree(process_folder(), ignore_errors=True)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path next to `target`; if the block succeeds, it is renamed to `target`.

    The content is flushed to disk before the rename, so a crash leaves either the old file or the new one. A link is
    followed and stays; the new file has the permissions of the old one.

    Raises:
        OSError: when it can't be written, or `target` is something else than a regular file.
    """
    if target.is_symlink():
        target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".{secrets.token_hex(8)}.part"
    try:
        yield part
        _sync(part)
        _put_in_place(part, target)
        _sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


def _put_in_place(part: Path, target: Path) -> None:
    if target.exists():
        if not target.is_file():  # a rename would take the place of a device or a pipe
            raise OSError(errno.EINVAL, "not a regular file", str(target))
        shutil.copymode(target, part)
    part.replace(target)


def write_bytes(target: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(target) as part:
        part.write_bytes(content)


def move_folder(folder: Path, target: Path) -> None:
    """Rename a folder to a name that is free, and flush that to disk."""
    folder.rename(target)
    _sync(target.parent)


def write_text(target: Path, content: str) -> None:
    """Write a UTF-8 text file atomically; the bytes of file names that are not UTF-8 are kept."""
    write_bytes(target, encoded(content))


def encoded(content: str) -> bytes:
    """Text as UTF-8; the bytes of file names that are not UTF-8 are kept."""
    return content.encode("utf-8", "surrogateescape")


def write_json(target: Path, value: object) -> None:
    """Write a JSON file atomically."""
    write_text(target, dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Read a JSON file.

    Raises:
        OSError: when it can't be read.
        ValueError: when it holds no JSON, or such as `dumps` never writes: NaN, or a thousand levels.
    """
    return loads(path.read_text(encoding="utf-8"))


def loads(text: str | bytes) -> Any:  # noqa: ANN401
    """Strict JSON; see `read_json` for the errors."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number that JSON has")


def dumps(value: object, *, indent: int | None = None) -> str:
    """Strict ASCII JSON: NaN and infinities become null; file names that are not UTF-8 survive as escapes."""
    return json.dumps(_plain(value), indent=indent, ensure_ascii=True, allow_nan=False)


#: Types that JSON has; a subclass, such as an enum, may be something else.
_PLAIN = frozenset((str, int, bool, type(None)))


def _plain(value: Any) -> Any:  # noqa: ANN401
    if type(value) in _PLAIN:  # first, for speed: most values are
        return value
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    if type(value) is float:
        return value if math.isfinite(value) else None
    if hasattr(value, "item") and hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


#: Text that a spreadsheet would take for a formula, with any apostrophes before it.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠].", re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
#: Other first characters need no closer look.
_FORMULA_STARTS = frozenset("'=+-@\t\r\n＝＋－＠")


class CsvWriter:
    """Writes CSV with Unix line ends. Unlike `csv.writer` it quotes a lone carriage return, too.

    Text that a spreadsheet would run as a formula, such as `=1+1`, gets an apostrophe in front, the usual mark of
    text; `read_csv` takes it off. Numbers stay as they are.
    """

    def __init__(self, stream: TextIO) -> None:
        self._plain = csv.writer(stream, lineterminator="\n")
        self._quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def writerow(self, row: Sequence[object]) -> None:
        """Write one row."""
        cells: list[object] = []
        needs_quotes = False
        for value in row:
            if isinstance(value, str):
                needs_quotes = needs_quotes or "\r" in value
                value = escaped(value) if value[:1] in _FORMULA_STARTS else value
            cells.append(value)
        (self._quoted if needs_quotes else self._plain).writerow(cells)


def read_csv(lines: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a CSV file that `CsvWriter` wrote, by the names in its first line.

    Args:
        lines: the open file, or its lines with their ends.
    """
    rows = csv.DictReader(lines)  # a short row has None, a long one a list
    return [{k: unescaped(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows]


def is_formula(text: str) -> bool:
    """Whether a spreadsheet could take a cell for a formula."""
    return _FORMULA.match(text) is not None and not _NUMBER.fullmatch(text)


def plain_path(path: str) -> str:
    """The same file by a name that no spreadsheet takes for a formula, and that can still be opened."""
    return f"./{path}" if is_formula(path) else path


def escaped(text: str) -> str:
    """A cell that no spreadsheet runs as a formula: the text, with an apostrophe before it where needed."""
    return f"'{text}" if is_formula(text) else text


def unescaped(cell: str) -> str:
    """The text that `escaped` was given."""
    return cell[1:] if cell.startswith("'") and is_formula(cell) else cell


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_of(value: object) -> str:
    """A stable digest (16 hexadecimal digits) of any JSON-able value, for cache keys."""
    return sha256_of_json(value)[:16]


def canonical(value: object) -> str:
    """Strict ASCII JSON with sorted keys and without spaces: the same text for the same value."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def sha256_of_json(value: object) -> str:
    """Hexadecimal SHA-256 of a JSON-able value: of its `canonical` text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _sync(path: Path) -> None:
    """Flush a file, or a folder where the system supports it, to disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)
