"""Predictions as CSV, Parquet or JSON, written as they come: memory does not grow with their number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from foveal.errors import UsageError
from foveal.files import CsvWriter, dumps, replacing
from foveal.ship.predictor import Prediction
from foveal.values import SCHEMA

FORMATS = ("csv", "parquet", "json")
_ROWS = 2048  # a Parquet row group


def format_of(path: Path, given: str | None) -> str:
    """The format asked for, or the one that the file's name means.

    Raises:
        UsageError: when neither is one of `FORMATS`.
    """
    name = (path.suffix.removeprefix(".") if given is None else given).lower()
    if name not in FORMATS:
        raise UsageError(f"{name or path.name!r} is no table format", hint=f"one of {', '.join(FORMATS)}")
    return name


def columns(topk: int) -> list[str]:
    """The columns of a table."""
    ranks = [f"{kind}_{i}" for i in range(2, topk + 1) for kind in ("label", "probability")]
    return ["path", "label", "probability", *ranks, "set", "unknown", "error"]


def row_of(prediction: Prediction, topk: int) -> dict[str, Any]:
    """One flat row; the set is written as its names with `|` between."""
    row: dict[str, Any] = dict.fromkeys(columns(topk))
    row |= {"path": prediction.path, "label": prediction.label, "probability": prediction.probability}
    for i, (label, probability) in enumerate(prediction.topk[1:], 2):
        row |= {f"label_{i}": label, f"probability_{i}": probability}
    return row | {"set": "|".join(prediction.set), "unknown": prediction.unknown, "error": prediction.error}


def write_csv(predictions: Iterable[Prediction], stream: TextIO, *, topk: int = 1) -> int:
    """CSV, a line an answer; returns how many."""
    writer = CsvWriter(stream)
    writer.writerow(columns(topk))
    count = 0
    for count, prediction in enumerate(predictions, 1):  # noqa: B007
        writer.writerow(list(row_of(prediction, topk).values()))
    return count


def write_json(predictions: Iterable[Prediction], stream: TextIO) -> int:
    """One JSON object, its list written item by item; returns how many."""
    stream.write(f'{{"schema": {SCHEMA}, "predictions": [')
    count = 0
    for count, prediction in enumerate(predictions, 1):
        stream.write((",\n" if count > 1 else "\n") + dumps(prediction.to_dict()))
    stream.write("\n]}\n")
    return count


def write_parquet(predictions: Iterable[Prediction], path: Path, *, topk: int = 1) -> int:
    """Parquet, in row groups; returns how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"unknown": pa.bool_()}
    schema = pa.schema(
        [(c, pa.float64() if c.startswith("probability") else kinds.get(c, pa.string())) for c in columns(topk)]
    )
    count, source = 0, iter(predictions)
    with replacing(path) as part, pq.ParquetWriter(part, schema) as writer:
        while rows := [_utf8(row_of(p, topk)) for p in islice(source, _ROWS)]:
            writer.write_table(pa.Table.from_pylist(rows, schema))
            count += len(rows)
    return count


def write_file(predictions: Iterator[Prediction], path: Path, kind: str, *, topk: int = 1) -> int:
    """Write a whole table file, atomically; returns how many rows."""
    if kind == "parquet":
        return write_parquet(predictions, path, topk=topk)
    with (
        replacing(path) as part,
        part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        return write_json(predictions, stream) if kind == "json" else write_csv(predictions, stream, topk=topk)


def _utf8(row: dict[str, Any]) -> dict[str, Any]:
    """Parquet holds UTF-8 only: what is not becomes JSON's escapes."""
    path = row["path"]
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        row["path"] = json.dumps(path)[1:-1]
    return row
