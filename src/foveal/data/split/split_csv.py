"""`split.csv`: every image with its subset, or with the reason why it is excluded."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from foveal.data.split.assign import as_subset
from foveal.data.targets.target import Target
from foveal.errors import DataError
from foveal.files import CsvWriter, read_csv
from foveal.schema import check_listed
from foveal.values import SUBSETS, Excluded, ImageRecord, Split, SplitRecord, Subset

_HINT = "give the folder of a finished run; if it is one, its split.csv is damaged"
#: The columns of the target follow them.
_COLUMNS = ("path", "sha256", "label", "split", "group", "note")


def split_to_csv(split: Split, target: Target) -> str:
    """The text of the file; excluded images have an empty `split`, and their reason as the note."""
    buffer = io.StringIO()
    writer = CsvWriter(buffer)
    writer.writerow(_COLUMNS + target.csv_columns)
    for p in split.placed:
        row = [p.record.path, p.record.sha256, p.record.label or "", p.subset, p.group, p.note]
        writer.writerow(row + target.to_row(p.record))
    for item in split.excluded:
        row = [item.path, item.sha256, item.label or "", "", "", f"{item.reason}: {item.detail}"]
        writer.writerow(row + [""] * len(target.csv_columns))
    return buffer.getvalue()


def read_subsets(path: Path) -> dict[str, Subset]:
    """Subset by SHA-256 from a run's `split.csv`.

    Raises:
        DataError: see `read_rows`.
    """
    rows = read_rows(path)
    return {row["sha256"]: as_subset(row["split"]) for row in rows if row["split"] in SUBSETS and row["sha256"]}


def read_split(path: Path, target: Target) -> Split:
    """The split that `split_to_csv` wrote; see `record_from_row` for what it keeps.

    Raises:
        DataError: see `read_rows`.
        ValueError, KeyError: when a cell of the target is damaged.
    """
    rows = read_rows(path, target.csv_columns)
    placed = [
        SplitRecord(record_from_row(row, target), as_subset(row["split"]), row["group"], row["note"])
        for row in rows
        if row["split"] in SUBSETS
    ]
    excluded = [_excluded(row) for row in rows if row["split"] not in SUBSETS]
    return target.restore_split(placed, excluded)


def record_from_row(row: Mapping[str, str], target: Target) -> ImageRecord:
    """The record of an image as far as `split.csv` keeps it: its measures are 0."""
    record = ImageRecord(
        path=row["path"],
        label=row["label"] or None,
        split=as_subset(row["split"]) if row["note"] == "given" else None,
        group=row["group"],
        sha256=row["sha256"],
        width=0,
        height=0,
        file_time=0,
        phash=0,
        thumb=b"",
        brightness=0.0,
        contrast=0.0,
        sharpness=0.0,
    )
    return target.from_row(record, row)


def read_rows(path: Path, target_columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """All rows of a run's `split.csv`, by column.

    Raises:
        DataError: when the file is missing, is not what the run wrote, has other columns, or a row that is too short,
            too long, or in no known subset.
    """
    if not path.parent.is_dir():
        raise DataError(f"{path.parent}: no such run folder", hint=_HINT.partition(";")[0])
    try:
        check_listed(path)
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as handle:
            lines = list(handle)
        columns, rows = next(csv.reader(lines), []), read_csv(lines)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint=_HINT) from None
    except csv.Error as error:
        raise DataError(f"{path}: {error}", hint=_HINT) from None
    missing = [c for c in (*_COLUMNS, *target_columns) if c not in columns]
    if missing:
        raise DataError(f"{path}: not a split that foveal wrote: column {missing[0]!r} is missing", hint=_HINT)
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise DataError(f"{path}: row {number} is too {'long' if None in row else 'short'}", hint=_HINT)
        if row["split"] and (row["split"] not in SUBSETS or not row["sha256"]):
            raise DataError(f"{path}: row {number}: split {row['split']!r}, sha256 {row['sha256']!r}", hint=_HINT)
    return rows


def _excluded(row: Mapping[str, str]) -> Excluded:
    reason, _, detail = row["note"].partition(": ")
    return Excluded(row["path"], reason, detail, row["label"] or None, row["sha256"])
