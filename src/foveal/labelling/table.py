"""The CSV of labels: `path,label,sha256`, which `foveal train` takes as DATA.

It is rewritten as a whole after every action, by one rename. By the third column `data/sources/tables.py` knows that
foveal wrote it, and reads cells exactly.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path

from foveal.files import CsvWriter, plain_path, read_csv

COLUMNS = ("path", "label", "sha256")
#: Bytes of the first line that are looked at.
_LONGEST = 200


def is_label_table(path: Path) -> bool:
    """Whether `label` wrote a file."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        return stream.readline(_LONGEST).rstrip("\r\n") == ",".join(COLUMNS)


def table_text(rows: Iterable[tuple[str, str, str]]) -> str:
    """The content of the file.

    Args:
        rows: path, label and SHA-256 of each labelled image, as they are to be written.
    """
    buffer = io.StringIO()
    writer = CsvWriter(buffer)
    writer.writerow(COLUMNS)
    for path, label, sha256 in rows:
        writer.writerow((plain_path(path), label, sha256))
    return buffer.getvalue()


def read_table(path: Path) -> dict[str, tuple[str, str]]:
    """Label and SHA-256 by path, as they were written; empty when there is no such file."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
            rows = read_csv(lines)
    except FileNotFoundError:
        return {}
    cells = ((row["path"], row.get("label") or "", row.get("sha256") or "") for row in rows)
    return {os.path.normpath(path): (label, sha256) for path, label, sha256 in cells if path}


def name_in_table(image: str, folder: str) -> str:
    """An image's path as the table has it: relative where it is below the folder of the table, or absolute."""
    below = os.path.join(folder, "")
    return image[len(below) :] if image.startswith(below) else image
