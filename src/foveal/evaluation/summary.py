"""`summary.json`: the figures of one run, under the keys that other programs rely on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

from foveal.clock import Clock
from foveal.data.dataset import Dataset
from foveal.decisions import DEVICE, ENGINE, EVALUATION_ENGINE, MEMORY, Decisions
from foveal.machine import memory_limit, peak_rss
from foveal.memory_budget import MemoryBudget
from foveal.models.trained import TrainedModel
from foveal.values import NO_TIME, SCHEMA, SUBSETS, Split
from foveal.version import __version__


class TriedStrategy(Protocol):
    """A strategy that was tried, as the summary shows it."""

    @property
    def strategy(self) -> str:
        """Its name."""
        ...

    @property
    def seconds(self) -> float:
        """What it took."""
        ...

    @property
    def score(self) -> float | None:
        """What it reached on images that it was not trained on; None: too few to tell."""
        ...

    @property
    def score_ci95(self) -> tuple[float, float] | None:
        """The interval of the score."""
        ...

    @property
    def trained(self) -> TrainedModel:
        """The model."""
        ...


class Search(Protocol):
    """The search over strategies, as the summary shows it."""

    @property
    def candidates(self) -> Sequence[TriedStrategy]:
        """What was tried, in order."""
        ...

    @property
    def best(self) -> TriedStrategy:
        """What was kept."""
        ...

    @property
    def reason(self) -> str:
        """Why the search ended."""
        ...


def summarise(
    task: str,
    dataset: Dataset,
    split: Split,
    clock: Clock,
    search: Search,
    decisions: Decisions,
    memory: MemoryBudget,
) -> dict[str, Any]:
    """Everything but the figures themselves and the time of the last stage."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "task": task,
        "status": "interrupted" if clock.stopped else "done",
        "model": search.best.trained.describe(),
        "engine": decisions.get(ENGINE) or decisions.get(EVALUATION_ENGINE) or _torch(decisions),
        "data": {
            "name": dataset.name,
            "root": dataset.root,
            "images": dataset.images,
            "classes": list(split.classes),
            "not_learned": list(dataset.not_learned),
            "used": len(split.placed),
            "excluded": len(split.excluded),
            "no_time": sum(x.reason == NO_TIME for x in split.excluded),
        },
        "split": {name: len(split.subset(name)) for name in SUBSETS},
        "strategy": {
            "name": search.best.strategy,
            "reason": search.reason,
            "candidates": [
                {"name": c.strategy, "seconds": c.seconds, "score": c.score, "ci95": c.score_ci95}
                for c in search.candidates
            ],
        },
        "memory": {
            "budget_bytes": memory.total or memory_limit(),
            "planned_bytes": _planned(decisions),
            "allocator_peak_bytes": _gpu_peak(),
            "peak_rss_bytes": peak_rss(),
        },
        "time": times(clock),
    }


def _gpu_peak() -> int | None:
    """Peak memory of tensors on a CUDA device; there is no such count on a CPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())


def _planned(decisions: Decisions) -> int | None:
    """The allocator's highest peak among the trainings of this run, as planned."""
    return max((plan["planned_bytes"] for _, plan in decisions.of_kind(MEMORY)), default=None)


def _torch(decisions: Decisions) -> str:
    device = decisions.get(DEVICE) or {"name": "cpu", "precision": "fp32"}
    return f"torch-{device['precision']}" + ("" if device["name"] == "cpu" else f"-{device['name']}")


def times(clock: Clock) -> dict[str, float | None]:
    """Seconds by stage; `total_s` runs from the start of the process."""
    budget = None if clock.budget == float("inf") else clock.budget
    laps = {f"{name}_s": clock.laps.get(name, 0.0) for name in ("audit", "features", "fit", "evaluate", "report")}
    return {"total_s": clock.spent(), "budget_s": budget, **laps}
