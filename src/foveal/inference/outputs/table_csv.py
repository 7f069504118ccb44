"""Predicted labels as CSV, a line an image, written as they come: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable

from foveal.files import CsvWriter
from foveal.inference.classifier import Prediction
from foveal.inference.outputs.output_format import OutputFormat, OutputOptions, Target, text_stream
from foveal.inference.outputs.table_rows import columns, row_of


def _write(predictions: Iterable[Prediction], target: Target, options: OutputOptions) -> int:
    count = 0
    with text_stream(target) as stream:
        writer = CsvWriter(stream)
        writer.writerow(columns(options.topk))
        for count, prediction in enumerate(predictions, 1):  # noqa: B007
            writer.writerow(list(row_of(prediction, options.topk).values()))
    return count


CSV = OutputFormat("csv", _write, suffixes=(".csv",))
