"""Predicted labels as flat rows, for tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from foveal.inference.classifier import Prediction
from foveal.inference.outputs.output_format import OutputOptions

#: Columns whose names begin so hold numbers.
PROBABILITY = "probability"


@dataclass(frozen=True)
class Rows:
    """Predictions of a task as flat rows.

    Attributes:
        columns: of a table.
        row: a prediction as values by column.
        are_columns: whether these are the columns of some table.
    """

    columns: Callable[[OutputOptions], list[str]]
    row: Callable[[Any, OutputOptions], dict[str, Any]]
    are_columns: Callable[[list[str]], bool]


def columns(topk: int) -> list[str]:
    """The columns of a table."""
    ranks = [f"{kind}_{i}" for i in range(2, topk + 1) for kind in ("label", "probability")]
    return ["path", "label", "probability", *ranks, "set", "unknown", "p_value", "error"]


def are_columns(names: list[str]) -> bool:
    """Whether these are the columns of some table, also of an earlier version, which had no `p_value`."""
    if "p_value" not in names and names[-1:] == ["error"]:
        names = [*names[:-1], "p_value", "error"]
    topk = (len(names) - 5) // 2
    return topk >= 1 and names == columns(topk)


def row_of(prediction: Prediction, topk: int) -> dict[str, Any]:
    """One flat row; the set is written as its names with `|` between."""
    row: dict[str, Any] = dict.fromkeys(columns(topk))
    row |= {"path": prediction.path, "label": prediction.label, "probability": prediction.probability}
    for i, (label, probability) in enumerate(prediction.topk[1:], 2):
        row |= {f"label_{i}": label, f"probability_{i}": probability}
    told = {"unknown": prediction.unknown, "p_value": prediction.p_value, "error": prediction.error}
    return row | {"set": "|".join(prediction.set), **told}


LABEL_ROWS = Rows(
    lambda options: columns(options.topk),
    lambda prediction, options: row_of(prediction, options.topk),
    are_columns,
)
