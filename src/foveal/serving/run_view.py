"""The run behind a model, for the page: its figures with intervals, and what was left out and why."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from foveal.data.split.split_csv import read_rows
from foveal.errors import FovealError
from foveal.evaluation.report import delivery, shortcomings
from foveal.harmless import one_line
from foveal.models.shipped import model_path
from foveal.run_folder import read_run
from foveal.serving.problems import Problem
from foveal.values import SUBSETS

#: Files that were left out are listed up to so many.
_LISTED = 500
_SUMMARY = ("version", "task", "status", "data", "split", "strategy", "test", "test_looks", "refit", "time")


def describe_run(run: str) -> dict[str, Any]:
    """What the page shows of a run folder.

    Raises:
        Problem: 404 when the model does not lie in the folder of a finished run, or that is damaged.
    """
    folder = model_path(run)
    try:
        summary, audit = read_run(folder, "summary.json"), read_run(folder, "audit.json")
        shown = {name: summary[name] for name in _SUMMARY}
        root = summary["data"]["root"]
        return {
            **shown,
            "name": summary["data"]["name"],
            "data": {k: v for k, v in summary["data"].items() if k != "root"},
            "delivery": delivery(summary),
            "shortcomings": shortcomings(summary),
            "findings": [
                {k: finding[k] for k in ("code", "severity", "message", "hint", "count")}
                for finding in audit["findings"]
            ],
            **_left_out(folder, root),
        }
    except (FovealError, KeyError, TypeError, ValueError) as error:
        raise Problem(
            404,
            "no_run",
            "the model does not lie in the folder of a finished run, whose figures could be shown",
            hint="serve the run folder that foveal train wrote",
        ) from error


def _left_out(folder: Path, root: str) -> dict[str, Any]:
    """Files that took no part, the reasons with how many they concern."""
    rows = [row for row in read_rows(folder / "split.csv") if row["split"] not in SUBSETS]
    reasons = Counter(row["note"].partition(": ")[0] for row in rows)
    return {
        "left_out": [
            {
                "path": one_line(row["path"].removeprefix(root + os.sep)),
                "label": row["label"] or None,
                "reason": row["note"].partition(": ")[0],
                "detail": one_line(row["note"].partition(": ")[2]),
            }
            for row in rows[:_LISTED]
        ],
        "left_out_counts": dict(reasons.most_common()),
    }
