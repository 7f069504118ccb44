"""Predicted labels as CSV, a line an image, written as they come: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from foveal.files import CsvWriter, plain_path
from foveal.inference.classifier import Prediction
from foveal.inference.outputs.output_format import OutputFormat, OutputOptions, Target, text_stream
from foveal.inference.outputs.table_rows import are_columns, columns, row_of

_LONGEST = 1 << 20  # characters of a first line


def _write(predictions: Iterable[Prediction], target: Target, options: OutputOptions) -> int:
    count = 0
    with text_stream(target, options) as stream:
        writer = CsvWriter(stream)
        writer.writerow(columns(options.topk))
        for count, prediction in enumerate(predictions, 1):  # noqa: B007
            row = row_of(prediction, options.topk)
            writer.writerow([plain_path(row.pop("path")), *row.values()])
    return count


def _is_ours(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as stream:
        return are_columns(stream.readline(_LONGEST).rstrip("\n").split(","))


CSV = OutputFormat("csv", _write, suffixes=(".csv",), is_ours=_is_ours)
