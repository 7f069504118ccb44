"""`summary.json`: the figures of one run, in the words that other programs rely on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from foveal import __version__, machine
from foveal.clock import Clock
from foveal.fit import Climb
from foveal.values import SCHEMA, SIDES, Dataset, Decisions, Split


def summarise(
    task: str,
    dataset: Dataset,
    split: Split,
    clock: Clock,
    climb: Climb,
    decisions: Decisions,
    asked_memory: int | None = None,
) -> dict[str, Any]:
    """Everything but the figures themselves and the time of the last stage."""
    engine = decisions.made.get("engine") or decisions.made["device"]
    return {
        "schema": SCHEMA,
        "version": __version__,
        "task": task,
        "status": "interrupted" if clock.stopped else "done",
        "model": climb.best.learned.describe(),
        "engine": engine["value"] if isinstance(engine["value"], str) else _torch(engine["value"]),
        "data": {
            "name": dataset.name,
            "root": dataset.root,
            "images": dataset.images,
            "classes": list(split.classes),
            "used": len(split.placed),
            "excluded": len(split.left_out),
        },
        "split": {side: len(split.on(side)) for side in SIDES},
        "strategy": {
            "name": climb.best.strategy,
            "reason": climb.reason,
            "candidates": [
                {"name": c.strategy, "seconds": c.seconds, "score": c.score, "ci95": c.score_ci95}
                for c in climb.candidates
            ],
        },
        "memory": {
            "budget_bytes": asked_memory or machine.memory_limit(),
            "planned_bytes": _planned(decisions),
            "allocator_peak_bytes": _gpu_peak(),
            "peak_rss_bytes": machine.peak_rss(),
        },
        "time": times(clock),
    }


def _gpu_peak() -> int | None:
    """The most that tensors took on a CUDA device; a CPU's allocator keeps no count."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())


def _planned(decisions: Decisions) -> int | None:
    """The allocator's highest peak among the trainings of this run, as planned."""
    made = [d["value"]["planned_bytes"] for name, d in decisions.made.items() if name.endswith(" memory")]
    return max(made, default=None)


def _torch(device: Mapping[str, Any]) -> str:
    return f"torch-{device['precision']}" + ("" if device["name"] == "cpu" else f"-{device['name']}")


def times(clock: Clock) -> dict[str, float | None]:
    """Seconds by stage; `total_s` runs from the start of the process."""
    budget = None if clock.budget == float("inf") else clock.budget
    laps = {f"{name}_s": clock.laps.get(name, 0.0) for name in ("audit", "features", "fit", "evaluate", "report")}
    return {"total_s": clock.spent(), "budget_s": budget, **laps}
