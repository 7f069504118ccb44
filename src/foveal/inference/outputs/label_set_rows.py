"""Predictions of several labels for each image as flat rows: the labels as a list, and a column for each class."""

from __future__ import annotations

import json
from typing import Any

from foveal.inference.multi_label import LabelSetPrediction
from foveal.inference.outputs.output_format import OutputOptions
from foveal.inference.outputs.table_csv import csv_format
from foveal.inference.outputs.table_parquet import parquet_format
from foveal.inference.outputs.table_rows import PROBABILITY, Rows

_TASKS = ("multi-label",)
_PREFIX = f"{PROBABILITY} "


def _columns(options: OutputOptions) -> list[str]:
    return ["path", "labels", *(_PREFIX + name for name in options.classes), "error"]


def _are_columns(names: list[str]) -> bool:
    between = names[2:-1]
    return (
        names[:2] == ["path", "labels"] and names[-1:] == ["error"] and all(c.startswith(_PREFIX) for c in between)
    )


def _row(prediction: LabelSetPrediction, options: OutputOptions) -> dict[str, Any]:
    """The labels as a JSON list, the most probable first, as a table to train from may have them."""
    row: dict[str, Any] = dict.fromkeys(_columns(options))
    row |= {"path": prediction.path, "error": prediction.error}
    if prediction.error is None:
        row["labels"] = json.dumps(prediction.labels, ensure_ascii=False)
    return row | {_PREFIX + name: probability for name, probability in prediction.topk}


_ROWS = Rows(_columns, _row, _are_columns)
LABEL_SET_CSV = csv_format(_ROWS, _TASKS)
LABEL_SET_PARQUET = parquet_format(_ROWS, _TASKS)
