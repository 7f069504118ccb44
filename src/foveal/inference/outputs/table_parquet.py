"""Predicted labels as Parquet, in row groups."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from foveal.inference.classifier import Prediction
from foveal.inference.outputs.output_format import OutputFormat, OutputOptions, Target
from foveal.inference.outputs.table_rows import are_columns, columns, row_of
from foveal.output_files import saving

_ROWS = 2048  # a row group
_MAGIC = b"PAR1"


def _write(predictions: Iterable[Prediction], target: Target, options: OutputOptions) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"unknown": pa.bool_(), "p_value": pa.float64()}
    schema = pa.schema(
        [
            (c, pa.float64() if c.startswith("probability") else kinds.get(c, pa.string()))
            for c in columns(options.topk)
        ]
    )
    count, source = 0, iter(predictions)
    assert isinstance(target, Path), "Parquet is written to files only"
    with saving(target, options.on_partial) as part, pq.ParquetWriter(part, schema) as writer:
        while rows := [_utf8(row_of(p, options.topk)) for p in islice(source, _ROWS)]:
            writer.write_table(pa.Table.from_pylist(rows, schema))
            count += len(rows)
    return count


def _utf8(row: dict[str, Any]) -> dict[str, Any]:
    """Parquet holds UTF-8 only: other names are written with JSON's escapes."""
    path = row["path"]
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        row["path"] = json.dumps(path)[1:-1]
    return row


def _is_ours(path: Path) -> bool:
    with path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            return False
    import pyarrow.parquet as pq

    return are_columns(pq.read_schema(path).names)


PARQUET = OutputFormat("parquet", _write, suffixes=(".parquet",), streams=False, is_ours=_is_ours)
