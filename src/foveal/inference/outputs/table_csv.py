"""Predicted labels as CSV, a line an image, written as they come: memory does not grow with their number."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from foveal.files import CsvWriter, plain_path
from foveal.inference.outputs.output_format import OutputFormat, OutputOptions, Target, text_stream
from foveal.inference.outputs.table_rows import LABEL_ROWS, Rows

_LONGEST = 1 << 20  # characters of a first line


def csv_format(rows: Rows, tasks: tuple[str, ...]) -> OutputFormat:
    """The format for predictions of some tasks as these rows."""

    def write(predictions: Iterable[Any], target: Target, options: OutputOptions) -> int:
        count = 0
        with text_stream(target, options) as stream:
            writer = CsvWriter(stream)
            writer.writerow(rows.columns(options))
            for count, prediction in enumerate(predictions, 1):  # noqa: B007
                row = rows.row(prediction, options)
                writer.writerow([plain_path(row.pop("path")), *row.values()])
        return count

    def is_ours(path: Path) -> bool:
        with path.open(encoding="utf-8", errors="replace") as stream:
            first = stream.readline(_LONGEST).rstrip("\n")
        try:
            return rows.are_columns(next(csv.reader([first]), []))
        except csv.Error:
            return False

    return OutputFormat("csv", write, tasks, suffixes=(".csv",), is_ours=is_ours)


CSV = csv_format(LABEL_ROWS, ("classify",))
