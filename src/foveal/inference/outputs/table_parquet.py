"""Predicted labels as Parquet, in row groups."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from foveal.inference.outputs.output_format import OutputFormat, OutputOptions, Target
from foveal.inference.outputs.table_rows import LABEL_ROWS, PROBABILITY, Rows
from foveal.output_files import saving

_GROUP = 2048  # rows
_MAGIC = b"PAR1"


def parquet_format(rows: Rows, tasks: tuple[str, ...]) -> OutputFormat:
    """The format for predictions of some tasks as these rows."""

    def write(predictions: Iterable[Any], target: Target, options: OutputOptions) -> int:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {"unknown": pa.bool_(), "p_value": pa.float64()}
        schema = pa.schema(
            [
                (c, pa.float64() if c.startswith(PROBABILITY) else kinds.get(c, pa.string()))
                for c in rows.columns(options)
            ]
        )
        count, source = 0, iter(predictions)
        assert isinstance(target, Path), "Parquet is written to files only"
        with saving(target, options.on_partial) as part, pq.ParquetWriter(part, schema) as writer:
            while group := [_utf8(rows.row(p, options)) for p in islice(source, _GROUP)]:
                writer.write_table(pa.Table.from_pylist(group, schema))
                count += len(group)
        return count

    def is_ours(path: Path) -> bool:
        with path.open("rb") as stream:
            if stream.read(len(_MAGIC)) != _MAGIC:
                return False
        import pyarrow.parquet as pq

        return rows.are_columns(pq.read_schema(path).names)

    return OutputFormat("parquet", write, tasks, suffixes=(".parquet",), streams=False, is_ours=is_ours)


def _utf8(row: dict[str, Any]) -> dict[str, Any]:
    """Parquet holds UTF-8 only: other names are written with JSON's escapes."""
    path = row["path"]
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        row["path"] = json.dumps(path)[1:-1]
    return row


PARQUET = parquet_format(LABEL_ROWS, ("classify",))
