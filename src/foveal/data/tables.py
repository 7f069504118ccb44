"""DATA as a table: a row a picture, with its label or its mask."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from foveal.data.labels import Labels
from foveal.data.listing import SPLITS, Listing, Wanted
from foveal.data.mask_sources import masks_of
from foveal.errors import DataError
from foveal.values import Entry

#: Other names for the columns of a table with masks.
_SAME = {"image": "path", "image_path": "path", "filename": "path", "mask_path": "mask", "label_path": "mask"}


def list_table(path: Path, name: str, wanted: Wanted) -> Listing:
    """A CSV or JSONL file of `path,label[,split][,group]` or `image,mask[,split][,group]`; relative paths start at
    the file's folder.

    Raises:
        DataError: naming the row that makes no sense.
    """
    listing = Listing(name, str(path.resolve().parent))
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint="can you read this file?") from None
    of_json = path.suffix.lower() in (".jsonl", ".ndjson", ".json")
    for number, row in _json_rows(path, text) if of_json else _csv_rows(path, text):
        where, label, split, group = (row.get(k, "") for k in ("path", "label", "split", "group"))
        if not where.strip():
            raise DataError(f"{path}:{number}: this row has no path", hint="every row needs path and label")
        full = _full(listing, where)
        split = split.strip()
        if split and split.lower() not in SPLITS:
            raise DataError(
                f"{path}:{number}: split {split!r} is none of train, val, test",
                hint="leave it empty to let foveal split",
            )
        side = SPLITS[split.lower()] if split else None
        if "mask" in row and wanted.task != "classify":
            if isinstance(listing.truth, Labels):
                listing.truth = masks_of(wanted, [listing.root])
            if row["mask"].strip():
                listing.entries.append(Entry(full, None, side, group or None, _full(listing, row["mask"])))
            else:
                listing.skip(full, "no_mask", f"row {number} has no mask")
        elif not label.strip():
            listing.skip(full, "no_label", f"row {number} has no label")
        else:
            listing.entries.append(Entry(full, label, side, group or None))
    _move_root(listing)
    return listing


def _full(listing: Listing, where: str) -> str:
    return os.path.normpath(os.path.join(listing.root, where))


def _move_root(listing: Listing) -> None:
    """A table that lies apart from its pictures says nothing about them: their own common folder does."""
    inside = os.path.join(listing.root, "")
    if listing.entries and not any(e.path.startswith(inside) for e in listing.entries):
        with contextlib.suppress(ValueError):  # no common folder: drives of Windows
            listing.root = os.path.commonpath([os.path.dirname(e.path) for e in listing.entries])


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    sample = text[:4096]
    delimiter = max(",;\t", key=sample.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = [(n or "").strip().lower() for n in reader.fieldnames or []]
    except csv.Error as error:
        raise DataError(f"{path}:1: {error}", hint="is this a CSV file?") from None
    if "mask" in names or "mask_path" in names or "label_path" in names:
        names = [_SAME.get(n, n) for n in names]
    for needed in ("path", "mask" if "mask" in names else "label"):
        if needed not in names:
            raise DataError(
                f"{path}: no column {needed!r}; it has {', '.join(map(repr, names)) or 'none'}",
                hint="the first line must name the columns: path,label[,split][,group]",
            )
    reader.fieldnames = names
    try:
        for row in reader:
            yield (
                reader.line_num,
                {k: (v or "").strip() for k, v in row.items() if isinstance(v, str) or v is None},
            )
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}", hint="is this a CSV file?") from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogateescape")  # half a character is no name
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: {error}", hint="one JSON object a line") from None
        if isinstance(row, dict) and "mask" in row:
            row = {_SAME.get(k, k): v for k, v in row.items()}
        if not isinstance(row, dict) or "path" not in row or not {"label", "mask"} & set(row):
            raise DataError(f"{path}:{number}: needs path and label", hint='{"path": "a.jpg", "label": "cat"}')
        yield number, {k: "" if v is None else str(v) for k, v in row.items()}
