"""DATA as a table, CSV or JSON lines: a row for each image, with its label or its mask."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

from foveal.data.sources.listing import SUBSET_NAMES, DataOptions, Listing, short_name
from foveal.data.targets.registry import AUTO
from foveal.data.targets.target import Target
from foveal.errors import DataError
from foveal.values import Subset

#: Line number, and cells by column.
_Row = tuple[int, dict[str, str]]


def list_table(path: str, options: DataOptions) -> Listing | None:
    """A file of `path,label[,split][,group]` or `image,mask[,split][,group]`; the columns tell the target, and
    relative paths start at the file's folder.

    Raises:
        DataError: naming the row that makes no sense.
    """
    if not os.path.isfile(path):
        return None
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}", hint="can you read this file?") from None
    if file.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        rows = _json_rows(file, text)
        kind = _kind({name for _, row in rows for name in row}, options)
        for number, row in rows:
            if not {"path", kind.column} <= {kind.aliases.get(name, name) for name in row}:
                hint = json.dumps({"path": "a.jpg", kind.column: "…"}, ensure_ascii=False)
                raise DataError(f"{file}:{number}: needs path and {kind.column}", hint=hint)
    else:
        names, rows = _csv_rows(file, text)
        kind = _kind(names, options)
        for needed in ("path", kind.column):
            if needed not in {kind.aliases.get(name, name) for name in names}:
                raise DataError(
                    f"{file}: no column {needed!r}; it has {', '.join(map(repr, names)) or 'none'}",
                    hint=f"the first line must name the columns: path,{kind.column}[,split][,group]",
                )
    root = str(file.resolve().parent)
    target = kind.create([root], classes=options.classes, ignore=options.ignore)
    listing = Listing(short_name(file.stem), root, target)
    for number, row in rows:
        _add(listing, file, number, {kind.aliases.get(name, name): cell for name, cell in row.items()})
    _move_root(listing)
    return listing


def _kind(columns: list[str] | set[str], options: DataOptions) -> type[Target]:
    """The first target whose column is there; the one that was asked for, or the last, when none is."""
    kinds = options.candidates()
    for kind in kinds:
        if kind.column in {kind.aliases.get(name, name) for name in columns}:
            return kind
    return kinds[-1] if options.task == AUTO else kinds[0]


def _add(listing: Listing, file: Path, number: int, row: Mapping[str, str]) -> None:
    target = listing.target
    path, annotation, split, group = (row.get(k, "") for k in ("path", target.column, "split", "group"))
    if not path.strip():
        raise DataError(f"{file}:{number}: this row has no path", hint=f"every row needs path and {target.column}")
    full = os.path.normpath(os.path.join(listing.root, path))
    split = split.strip().lower()
    if split and split not in SUBSET_NAMES:
        raise DataError(
            f"{file}:{number}: split {row['split'].strip()!r} is not one of train, val, test",
            hint="leave it empty to let foveal split",
        )
    subset: Subset | None = SUBSET_NAMES[split] if split else None
    if annotation.strip():
        listing.entries.append(target.entry(full, annotation, listing.root, subset, group or None))
    else:
        listing.skip(full, target.absent, f"row {number} has no {target.column}")


def _move_root(listing: Listing) -> None:
    """Where a table lies apart from its images, paths are shown relative to their own common folder."""
    inside = os.path.join(listing.root, "")
    if listing.entries and not any(e.path.startswith(inside) for e in listing.entries):
        with contextlib.suppress(ValueError):  # no common folder: drives of Windows
            listing.root = os.path.commonpath([os.path.dirname(e.path) for e in listing.entries])


def _csv_rows(path: Path, text: str) -> tuple[list[str], list[_Row]]:
    """The names of the columns, and the rows."""
    delimiter = max(",;\t", key=text[:4096].partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = [(n or "").strip().lower() for n in reader.fieldnames or []]
    except csv.Error as error:
        raise DataError(f"{path}:1: {error}", hint="is this a CSV file?") from None
    reader.fieldnames = names
    rows = []
    try:
        for row in reader:
            cells = {k: (v or "").strip() for k, v in row.items() if isinstance(v, str) or v is None}
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}", hint="is this a CSV file?") from None
    return names, rows


def _json_rows(path: Path, text: str) -> list[_Row]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogateescape")  # half a surrogate is no name
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: {error}", hint="one JSON object a line") from None
        if not isinstance(row, dict):
            raise DataError(
                f"{path}:{number}: needs path and label",
                hint='one object a line: {"path": "a.jpg", "label": "cat"}',
            )
        rows.append((number, {k: "" if v is None else str(v) for k, v in row.items()}))
    return rows
