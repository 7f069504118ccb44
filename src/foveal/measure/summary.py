"""`summary.json`: the figures of one run, in the words that other programs rely on."""

from __future__ import annotations

from typing import Any

from foveal import __version__, machine
from foveal.clock import Clock
from foveal.data import Audit
from foveal.fit import Climb, Work
from foveal.values import SCHEMA, SIDES, Decisions, Split


def summarise(
    task: str, audit: Audit, split: Split, work: Work, climb: Climb, decisions: Decisions
) -> dict[str, Any]:
    """Everything but the figures themselves and the time of the last stage."""
    backbone, clock = work.extractor.backbone, work.clock
    return {
        "schema": SCHEMA,
        "version": __version__,
        "task": task,
        "status": "interrupted" if clock.stopped else "done",
        "model": {
            "backbone": backbone.name,
            "weights_sha256": backbone.weights_sha256,
            "input": [3, work.extractor.preprocess.size, work.extractor.preprocess.size],
            "views": list(climb.best.views),
            "head_parameters": climb.best.head.weight.size + climb.best.head.bias.size,
        },
        "engine": decisions.made["engine"]["value"],
        "data": {
            "name": audit.listing.name,
            "root": audit.listing.root,
            "images": len(audit.records) + len(audit.left_out),
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
            "budget_bytes": machine.memory_limit(),
            "planned_bytes": None,
            "allocator_peak_bytes": None,
            "peak_rss_bytes": machine.peak_rss(),
        },
        "time": times(clock),
    }


def times(clock: Clock) -> dict[str, float | None]:
    """Seconds by stage; `total_s` runs from the start of the process."""
    budget = None if clock.budget == float("inf") else clock.budget
    laps = {f"{name}_s": clock.laps.get(name, 0.0) for name in ("audit", "features", "fit", "evaluate", "report")}
    return {"total_s": clock.spent(), "budget_s": budget, **laps}
