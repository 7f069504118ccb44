"""Images as bytes in a column of a Parquet file, read where they are.

Row number 7 of a file has the path `FILE#7` throughout foveal, as in IDX files. A row group is read at a time, and
the last ones are kept.
"""

from __future__ import annotations

import hashlib
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from functools import lru_cache
from itertools import accumulate
from typing import Any

from foveal.data.images.storage import is_file, open_arrow, version_of
from foveal.errors import DataError

ENDING = ".parquet"
#: Bytes of row groups that are kept; at least one row group is.
MAX_KEPT = 256 << 20
_NAMES = ("image", "img", "picture", "photo", "bytes", "image_bytes", "content", "jpg", "jpeg", "png")


def image_column(schema: Any) -> str | None:  # noqa: ANN401
    """The column of a schema that holds the contents of image files: binary, or a struct with binary `bytes`."""
    found = [field.name for field in schema if _holds_bytes(field.type)]
    named = [name for known in _NAMES for name in found if name.lower() == known]
    return named[0] if named else found[0] if len(found) == 1 else None


def _holds_bytes(kind: Any) -> bool:  # noqa: ANN401
    from pyarrow import types

    if types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def holds_images(path: str) -> bool:
    """Whether a path is that of a Parquet file with a column of images; False where it can't be read."""
    if not (path.lower().endswith(ENDING) and is_file(path)):
        return False
    try:
        return _file(path, *version_of(path)).column is not None
    except DataError:
        return False


def split_row(path: str) -> tuple[str, int] | None:
    """`FILE#N` as file and number; None for any other path."""
    file, _, number = path.rpartition("#")
    if not (file.lower().endswith(ENDING) and number.isascii() and number.isdigit() and is_file(file)):
        return None
    return file, int(number)


def rows_of(file: str) -> int:
    """How many rows a file has.

    Raises:
        DataError: when it is not a Parquet file.
    """
    return _file(file, *version_of(file)).starts[-1]


def read_row(file: str, number: int) -> bytes | None:
    """The image file in one row, empty for a null cell; None when there is no such row.

    Raises:
        DataError: when it is not a Parquet file with images, or damaged.
    """
    version = version_of(file)
    opened = _file(file, *version)
    if opened.column is None or number >= opened.starts[-1]:
        return None
    group = opened.group_of(number)
    cell = _group(opened, group, (file, *version, group))[number - opened.starts[group]].as_py()
    if isinstance(cell, dict):
        cell = cell.get("bytes")
    return bytes(cell or b"")


def reading_order(file: str, number: int) -> bytes:
    """A key by which rows are sorted to be read: row groups in a random order, and rows in theirs."""
    group = _file(file, *version_of(file)).group_of(number)
    return hashlib.md5(os.fsencode(f"{file}#{group}")).digest() + number.to_bytes(8, "big")


def open_parquet(path: str) -> Any:  # noqa: ANN401
    """A `pyarrow.parquet.ParquetFile`.

    Raises:
        DataError: when it is damaged or can't be read.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(open_arrow(path))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        words = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: {words}", hint="the Parquet file is damaged: write it again") from None


class _File:
    """A file with the rows at which its groups start."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.parquet = open_parquet(path)
        self.column = image_column(self.parquet.schema_arrow)
        metadata = self.parquet.metadata
        sizes = (metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
        self.starts: list[int] = [0, *accumulate(sizes)]
        self.lock = threading.Lock()

    def group_of(self, number: int) -> int:
        """The row group of a row."""
        return min(bisect_right(self.starts, number) - 1, max(0, len(self.starts) - 2))


@lru_cache(maxsize=32)
def _file(path: str, _size: int, _changed: int) -> _File:
    return _File(path)


_groups: OrderedDict[tuple[str, int, int, int], Any] = OrderedDict()
_lock = threading.Lock()


def _group(file: _File, number: int, key: tuple[str, int, int, int]) -> Any:  # noqa: ANN401
    """The images of one row group; each file is read by one thread at a time."""
    import pyarrow

    with file.lock:
        with _lock:
            if key in _groups:
                _groups.move_to_end(key)
                return _groups[key]
        try:
            column = file.parquet.read_row_group(number, columns=[file.column]).column(0)
        except (pyarrow.ArrowException, OSError) as error:
            words = " ".join(str(error).split())[:200]
            raise DataError(f"{file.path}: row group {number}: {words}", hint="the file is damaged") from None
        with _lock:
            _groups[key] = column
            while sum(kept.nbytes for kept in _groups.values()) > MAX_KEPT and len(_groups) > 1:
                _groups.popitem(last=False)
        return column
