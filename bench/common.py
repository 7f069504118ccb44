"""What all benchmarks share: they record the machine, repeat, and keep raw results so that they can be continued."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from foveal.machine import cores, cpu_name, instruction_sets, versions
from foveal.metrics import wilson

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """The machine that the figures are measured on."""
    return {"cpu": cpu_name(), "cores": cores(), "instruction_sets": instruction_sets(), "versions": versions()}


def _kind(described: dict[str, Any]) -> dict[str, Any]:
    """The machine and its libraries, without the build of its kernel."""
    return {**described, "versions": {k: v for k, v in described["versions"].items() if k != "system"}}


class Results:
    """One result file: a list of raw rows with the machine they were measured on, saved after each row.

    Rows of another machine are replaced. A row that was measured under another kernel than the first names it.

    Args:
        name: of the file.
        keep_earlier: rows of other machines are kept as well: each was an evaluation on a test set.
    """

    def __init__(self, name: str, *, keep_earlier: bool = False) -> None:
        self.path = RESULTS / f"{name}.json"
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.machine = machine()
        same = bool(known) and _kind(known["machine"]) == _kind(self.machine)
        self._system = self.machine["versions"]["system"]
        if same:
            self.machine = known["machine"]
        self.rows: list[dict[str, Any]] = known.get("rows", []) if same else []
        self.earlier: list[dict[str, Any]] = known.get("earlier", [])
        if keep_earlier and known and not same:
            self.earlier.append({"machine": known["machine"], "rows": known.get("rows", [])})

    def add(self, **row: Any) -> None:
        """Keep one raw result."""
        if self._system != self.machine["versions"]["system"]:
            row["system"] = self._system
        self.rows.append(row)
        self.save()
        print(json.dumps(row), file=sys.stderr, flush=True)

    def of(self, **wanted: Any) -> list[dict[str, Any]]:
        """The rows with these values."""
        return [r for r in self.rows if all(r.get(k) == v for k, v in wanted.items())]

    def save(self, **summary: Any) -> None:
        """Write the file."""
        RESULTS.mkdir(exist_ok=True)
        content = {"machine": self.machine, **summary, "rows": self.rows}
        if self.earlier:
            content["earlier"] = self.earlier
        self.path.write_text(json.dumps(content, indent=1) + "\n")


def timed(command: Sequence[str], **kwargs: Any) -> tuple[float, str]:
    """Seconds of a whole fresh process, and what it printed.

    Raises:
        SystemExit: with its stderr, when it failed.
    """
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return time.monotonic() - began, done.stdout


def spread(values: Iterable[float]) -> dict[str, float | int | None]:
    """n, mean, sd."""
    v = list(values)
    sd = statistics.stdev(v) if len(v) > 1 else None
    return {"n": len(v), "mean": statistics.fmean(v) if v else math.nan, "sd": sd}


def pooled(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy over several test subsets together, with Wilson's interval."""
    right, total = sum(round(r["accuracy"] * r["n"]) for r in rows), sum(r["n"] for r in rows)
    return {
        "splits": len({r.get("split", r.get("seed")) for r in rows}),
        "n": total,
        "accuracy": right / total,
        "ci95": wilson(right, total),
    }
