"""Parquet with the contents of image files in one column, and labels in another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from foveal.data.images.parquet_images import ENDING, image_column, open_parquet
from foveal.data.sources.listing import DataOptions, Listing, subset_of
from foveal.data.sources.shard_names import (
    class_names,
    label_by_pattern,
    named_label,
    new_listing,
    shard_files,
    subsets_of,
)
from foveal.data.sources.tables import LABEL_COLUMNS
from foveal.errors import DataError
from foveal.values import Entry

#: Rows of labels that are read at a time.
_AT_ONCE = 65536


def list_parquet_images(path: str, options: DataOptions) -> Listing | None:
    """Each row of each file, with the label in the column `label` (or `class`, `category`, …), its subset in `split`
    and its group in `group`. The names of numbers are those in the file's metadata, as Hugging Face's datasets write
    them, or in `classes.txt` beside it.

    Raises:
        DataError: when a file is damaged, or it is not clear which column is the label.
    """
    files = shard_files(path, ENDING)
    if not files:
        return None
    listing = new_listing(files, path, options)
    names, subset, pattern = class_names(listing.root), subsets_of(files), label_by_pattern(options, listing.root)
    for file in files:
        opened = open_parquet(file)
        schema = opened.schema_arrow
        if image_column(schema) is None:
            listing.skip(file, "not_a_picture", "no column of images")
            continue
        label = _label_of(file, schema, names)
        for number, row in enumerate(_rows(opened, schema)):
            name = f"{file}#{number}"
            text = pattern(name) if pattern is not None else label(row)
            if text:
                given = subset_of(str(row.get("split") or "")) or subset(file)
                group = row.get("group")
                listing.entries.append(Entry(name, text, given, None if group is None else str(group)))
            else:
                listing.skip(name, "no_label", f"row {number} has no label")
    return listing


def _label_of(file: str, schema: Any, names: list[str]) -> Callable[[dict[str, Any]], str | None]:  # noqa: ANN401
    columns = [name for name in schema.names if name.lower() in LABEL_COLUMNS]
    if len(columns) > 1 and "label" in columns:
        columns = ["label"]
    if len(columns) > 1:
        which = " or ".join(map(repr, columns))
        raise DataError(f"{file}: which column is the label: {which}?", hint="name one of them 'label'")
    if not columns:
        return lambda _: None
    known = _hugging_face_names(schema, columns[0]) or names

    def label(row: dict[str, Any]) -> str | None:
        value = row[columns[0].lower()]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "surrogateescape")
        if isinstance(value, bool | list | dict | float):
            raise DataError(f"{file}: a label is {str(value)[:60]!r}", hint="a name, or a whole number")
        return None if value is None else named_label(str(value).strip(), known, file)

    return label


def _hugging_face_names(schema: Any, column: str) -> list[str]:  # noqa: ANN401
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (KeyError, ValueError, TypeError):
        return []


def _rows(opened: Any, schema: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """The few columns that a listing needs, a batch at a time."""
    import pyarrow

    wanted = [name for name in schema.names if name.lower() in {*LABEL_COLUMNS, "split", "group"}]
    if not wanted:
        yield from ({} for _ in range(opened.metadata.num_rows))
        return
    try:
        for batch in opened.iter_batches(_AT_ONCE, columns=wanted):
            for row in batch.to_pylist():
                yield {name.lower(): value for name, value in row.items()}
    except (pyarrow.ArrowException, OSError) as error:
        words = " ".join(str(error).split())[:200]
        raise DataError(f"the labels can't be read: {words}", hint="the Parquet file is damaged") from None
