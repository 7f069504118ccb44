"""A plan with what it was made from: what remedies are traced on."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from foveal.errors import FovealError
from foveal.models.resolve import resolve
from foveal.planner.budget import Budget
from foveal.planner.convolution import Backend
from foveal.planner.fake_network import built, materialised
from foveal.planner.passes import replay_training
from foveal.planner.remedy import blocks_of
from foveal.planner.replay import Largest, Replay
from foveal.planner.scenario import Scenario
from foveal.plans import Plan


@dataclass
class Planned:
    """A plan, its network, its scenario, and replays of other scenarios, each traced once."""

    plan: Plan
    module: nn.Module
    scenario: Scenario
    backend: Backend
    replay: Replay
    budget: Budget
    model: str | os.PathLike[str] | nn.Module
    classes: int
    _replays: dict[tuple[str, Scenario], Replay] = field(default_factory=dict)

    def replay_of(self, change: dict[str, Any]) -> Replay:
        """A training step with some things changed; the batch does not matter, it is the replay's to choose.

        Raises:
            UsageError: when the network does not allow it.
        """
        rest = {k: v for k, v in change.items() if k != "model"}
        model = str(change.get("model", ""))
        scenario = self.scenario.but(**rest).but(batch=1)
        key = model, scenario
        if key not in self._replays:
            self._replays[key] = replay_training(self._module(model, scenario), scenario, self.backend)
        return self._replays[key]

    def can_be(self, model: str) -> bool:
        """Whether another network takes the same images."""
        try:
            self.replay_of({"model": model})
        except (FovealError, ValueError, RuntimeError):
            return False
        return True

    @property
    def norms(self) -> int:
        """How many batch normalisations learn from the batch."""
        return sum(isinstance(m, _BatchNorm) for m in self.module.modules())

    @property
    def block_count(self) -> int:
        """Parts of the network that can be checkpointed."""
        return len(blocks_of(self.module))

    def micro_batches(self) -> tuple[int, int]:
        """Into how many micro-batches, of how many images, the batch is cut: few, and so that it fits."""
        batch = self.scenario.batch
        parts = 2
        if self.budget.size is not None:
            replay = self.replay_of({"accumulate": 2})
            fitting = max(1, Largest(replay, self.budget.size, limit=batch).find())
            parts = max(2, -(-batch // fitting))
        parts = min(parts, batch)
        return parts, -(-batch // parts)

    def selective(self) -> tuple[str, ...]:
        """The fewest blocks, from the input on, whose checkpointing makes the step fit; else the first half."""
        names = tuple(blocks_of(self.module))
        if self.budget.size is None or len(names) < 2 or self.plan.fits.ok:
            return names[: len(names) // 2]
        low, high = 1, len(names)
        while low < high:
            middle = (low + high) // 2
            played = self.replay_of({"checkpoint": names[:middle]}).play(self.scenario.batch)
            low, high = (low, middle) if played.most <= self.budget.size else (middle + 1, high)
        return names[:low] if low < len(names) else names[: len(names) // 2]

    def forward_share(self, blocks: tuple[str, ...]) -> float:
        """The share of a prediction's MACs that these blocks compute."""
        starts = tuple(f"{b}." for b in blocks)
        inside = sum(layer.macs for layer in self.plan.layers if f"{layer.name}.".startswith(starts))
        return inside / max(1, self.plan.macs)

    def _module(self, model: str, scenario: Scenario) -> nn.Module:
        """The network for these images: built again when they have another size, or it is another one."""
        if not model and (scenario.input == self.scenario.input or isinstance(self.model, nn.Module)):
            return self.module
        found = resolve(model or self.model, classes=self.classes)  # type: ignore[arg-type]
        return materialised(built(lambda: found.build(scenario.input)), scenario.input)
