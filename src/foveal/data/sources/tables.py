"""DATA as a table, CSV or JSON lines: a row for each image, with its label or its mask."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foveal.data.images.decode import open_image
from foveal.data.images.reading import read_regular
from foveal.data.sources.listing import DataOptions, Listing, short_name, subset_of
from foveal.data.targets.registry import AUTO
from foveal.data.targets.target import Target
from foveal.errors import DataError, UnreadableImage
from foveal.files import unescaped

#: Line number, and cells by column.
_Row = tuple[int, dict[str, Any]]
_JSON = (".jsonl", ".ndjson", ".json")

#: Usual names of the column of image files, and of that of labels.
_PATHS = {"path", "filename", "file_name", "file", "image", "filepath", "file_path", "image_path"}
#: Columns, and fields of JSON, that hold labels.
LABEL_COLUMNS = {"label", "class", "category", "target", "class_name", "label_name"}
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_PARQUET = b"PAR1"
#: Columns by which `split.csv` and the tables of `label`, `predict` and `suspects` are known: their cells are read
#: exactly as they were written.
_OURS = (
    {"path", "label", "sha256"},
    {"path", "label", "probability", "set", "unknown", "error"},
    {"path", "label", "suggested", "score", "flagged"},
)


def list_metadata(path: str, options: DataOptions) -> Listing | None:
    """A folder with `metadata.csv`, `.jsonl` or `.parquet` in it, as Hugging Face's ImageFolder has; None when that
    table names no labels.
    """
    for file in (Path(path, name) for name in _METADATA):
        if file.is_file():
            rows = _table(file)[1]
            names = {name for _, row in rows for name in row}
            known = _renamed(file, names, _kind(file, names, rows, options))
            return list_table(str(file), options) if len(set(known.values())) > 1 else None
    return None


def list_table(path: str, options: DataOptions) -> Listing | None:
    """A file of `path,label[,split][,group]` or `image,mask[,split][,group]`; the columns tell the target, and
    relative paths start at the file's folder.

    Raises:
        DataError: naming the row that makes no sense.
    """
    if not os.path.isfile(path):
        return None
    file = Path(path)
    names, rows = _table(file)
    kind = _kind(file, names, rows, options)
    renamed = _renamed(file, names, kind)
    in_json = file.suffix.lower() in _JSON
    for needed in ("path", kind.column):
        if not in_json and needed not in renamed.values():
            raise DataError(
                f"{file}: no column {needed!r}; it has {', '.join(map(repr, sorted(names))) or 'none'}",
                hint=f"the first line must name the columns: path,{kind.column}[,split][,group]",
            )
    root = str(file.resolve().parent)
    target = kind.create([root], classes=options.classes, ignore=options.ignore)
    listing = Listing(short_name(file.stem), root, target)
    for number, row in rows:
        cells = {renamed.get(name, name): cell for name, cell in row.items()}
        if in_json and not {"path", kind.column} <= set(cells):
            hint = json.dumps({"path": "a.jpg", kind.column: "…"}, ensure_ascii=False)
            raise DataError(f"{file}:{number}: needs path and {kind.column}", hint=hint)
        read = {name: _cell(file, number, name, v, kind, options) for name, v in cells.items()}
        _add(listing, file, number, read)
    _move_root(listing)
    return listing


def holds_lists(data: str | os.PathLike[str], separator: str | None = None) -> bool:
    """Whether DATA is a table, or a folder with one in it, that gives several labels to an image."""
    path = Path(data)
    files = [path] if path.is_file() else [p for name in _METADATA if (p := path / name).is_file()]
    for file in files[:1]:
        if not may_be_table(file):
            return False
        names, rows = _table(file)
        return _kind(file, names, rows, DataOptions(label_separator=separator)).annotation == "labels"
    return False


def may_be_table(file: Path) -> bool:
    """By its name: other files may be large, or archives."""
    return file.suffix.lower() in (*_JSON, ".csv", ".tsv", ".parquet")


def _table(file: Path) -> tuple[set[str], list[_Row]]:
    """The names of the columns, and the rows."""
    try:
        content = read_regular(str(file))
    except UnreadableImage as error:
        raise DataError(str(error), hint="can you read this file?") from None
    if content.startswith(_PARQUET):
        return _parquet_rows(file, content)
    text = _text(file, content)
    if file.suffix.lower() in _JSON:
        rows = _json_rows(file, text)
        return {name for _, row in rows for name in row}, rows
    names, rows = _csv_rows(file, text)
    return set(names), rows


def _text(file: Path, content: bytes) -> str:
    """As UTF-8, or as UTF-16 where the file says so; other bytes, as in file names, are kept.

    Raises:
        DataError: for a binary file, saying what it is.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    if b"\0" in content[:4096] or content.startswith(b"%PDF"):
        try:
            what = f"an image ({open_image(content, str(file)).format})"
            hint = (
                "one image is no data set: give the folder with the class folders; `foveal predict` takes images"
            )
        except UnreadableImage:
            what, hint = "a binary file", "give a folder of class folders, or a table: CSV, JSON lines or Parquet"
        raise DataError(f"{file}: {what}, not a table of images and labels", hint=hint)
    return content.decode("utf-8-sig", "surrogateescape")


def _kind(file: Path, columns: set[str], rows: Sequence[_Row], options: DataOptions) -> type[Target]:
    """The first target whose column is there, with values for it; the one asked for, or the last, when none is."""
    kinds = options.candidates()
    for kind in kinds:
        column = next((old for old, new in _renamed(file, columns, kind).items() if new == kind.column), None)
        if column is not None and (
            kind is options.wanted or kind.reads((row.get(column) for _, row in rows), options.label_separator)
        ):
            return kind
    return kinds[-1] if options.task == AUTO else kinds[0]


def _renamed(file: Path, columns: set[str], kind: type[Target]) -> dict[str, str]:
    """The columns that are known under another name, and `path` and the target's own."""
    usual = {"path": _PATHS | {k for k, v in kind.aliases.items() if v == "path"}}
    usual[kind.column] = {kind.column} | {k for k, v in kind.aliases.items() if v == kind.column}
    if kind.column == "label":
        usual["label"] |= LABEL_COLUMNS
    renamed: dict[str, str] = {}
    for column, names in usual.items():
        found = {column} if column in columns else columns & names
        if len(found) > 1:
            raise DataError(
                f"{file}: which column is the {column}: {' or '.join(map(repr, sorted(found)))}?",
                hint=f"name one of them {column!r}",
            )
        renamed |= dict.fromkeys(found, column)
    return renamed


def _cell(file: Path, number: int, name: str, value: object, kind: type[Target], options: DataOptions) -> str:
    if name == kind.column:
        try:
            return kind.cell(value, options.label_separator)
        except ValueError as error:
            raise DataError(f"{file}:{number}: {error}", hint=kind.cell_hint) from None
    if isinstance(value, list | dict) and name in ("path", "split"):
        raise DataError(
            f"{file}:{number}: {name} is {json.dumps(value, default=str)[:60]}, not one value",
            hint="give one for each image",
        )
    return "" if value is None else str(value)


def _add(listing: Listing, file: Path, number: int, row: Mapping[str, str]) -> None:
    target = listing.target
    path, annotation, split, group = (row.get(k, "") for k in ("path", target.column, "split", "group"))
    if not path.strip():
        raise DataError(f"{file}:{number}: this row has no path", hint=f"every row needs path and {target.column}")
    full = os.path.normpath(os.path.join(listing.root, path))
    subset = subset_of(split)
    if split.strip() and subset is None:
        raise DataError(
            f"{file}:{number}: split {row['split'].strip()!r} is not one of train, val, test",
            hint="leave it empty to let foveal split",
        )
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
    ours = any(columns <= set(names) for columns in _OURS)
    rows = []
    try:
        for row in reader:
            cells = {k: _cell_of(v or "", ours=ours) for k, v in row.items() if isinstance(v, str) or v is None}
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}", hint="is this a CSV file?") from None
    return names, rows


def _cell_of(text: str, *, ours: bool) -> str:
    """A cell of a CSV file: without spaces around it, or, of a table of foveal's own, exactly what was written."""
    return unescaped(text) if ours else text.strip()


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
        rows.append((number, row))
    return rows


def _parquet_rows(file: Path, content: bytes) -> tuple[set[str], list[_Row]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{file}: {error}", hint="the Parquet file is damaged: write it again") from None
    table = table.rename_columns([name.strip().lower() for name in table.column_names])
    return set(table.column_names), list(enumerate(table.to_pylist(), 1))
