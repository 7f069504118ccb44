"""Everything that changes while a network is trained, as snapshots that can be kept, saved and restored."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.errors import BundleError
from foveal.training.loop.ema import WeightAverage
from foveal.training.loop.lr_schedule import Schedule
from foveal.training.loop.optim import optimizer_for
from foveal.training.loop.task import LoopSettings, TrainTask

_EMA = "ema."
_MODEL = "model."
_OPTIMIZER = "optimizer."


@dataclass(frozen=True)
class Snapshot:
    """The state at one step: tensors by name, and JSON-able facts beside them."""

    tensors: dict[str, np.ndarray[Any, Any]]
    facts: dict[str, Any]

    @property
    def step(self) -> int:
        """Steps that were done."""
        return int(self.facts["step"])


class TrainState:
    """A module, its optimizer and its averaged weights at some step.

    Attributes:
        step: steps that were done.
        retries: how often training went back, each time with half of the learning rate.
        lr_factor: what the learning rate is multiplied by after these.
        loss, start_loss: mean loss before the last check, and over the first steps; nan before there is one.
        kept: the snapshot at the last check.
    """

    def __init__(self, task: TrainTask, settings: LoopSettings, schedule: Schedule) -> None:
        self.settings, self.schedule = settings, schedule
        self.module = task.module.train()
        self.optimizer = optimizer_for(self.module, settings)
        self.average = WeightAverage(self.module, settings.ema) if settings.ema else None
        self.step, self.retries, self.lr_factor = 0, 0, 1.0
        self.loss = self.start_loss = math.nan
        self._weights = [t for t in self.module.state_dict().values() if t.is_floating_point()]
        self.kept = self.snapshot()

    @property
    def finite(self) -> bool:
        """Whether all weights are."""
        return all(bool(t.isfinite().all()) for t in self._weights)

    def keep(self) -> None:
        """Keep a copy in memory: what checkpoints save, and what training goes back to."""
        self.kept = Snapshot({}, {**self.kept.facts})  # the old copy goes before the new one is made
        self.kept = self.snapshot()

    def snapshot(self) -> Snapshot:
        """A copy of this state."""
        tensors = {_MODEL + k: v for k, v in self.module.state_dict().items()}
        if self.average is not None:
            tensors |= {f"{_EMA}{i:04d}": t for i, t in enumerate(self.average.tensors)}
        for number, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{_OPTIMIZER}{number}.{k}": v for k, v in values.items() if isinstance(v, Tensor)}
        copies = {k: v.detach().cpu().numpy().copy() for k, v in tensors.items()}
        facts = {
            "step": self.step,
            "attempt": self.schedule.attempt,
            "retries": self.retries,
            "lr_factor": self.lr_factor,
            "loss": _or_none(self.loss),
            "start_loss": _or_none(self.start_loss),
            "settings": asdict(self.settings),
        }
        return Snapshot(copies, facts)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back, or on, to a snapshot.

        Raises:
            BundleError: when it is another network's, or other settings'.
        """
        facts, own = snapshot.facts, asdict(self.settings)
        if facts["settings"] != own:
            other = {k: v for k, v in facts["settings"].items() if v != own.get(k)}
            raise BundleError(f"the checkpoint was made with other settings: {other}", hint="start a new run")
        tensors = {k: torch.from_numpy(np.asarray(v).copy()) for k, v in snapshot.tensors.items()}
        try:
            self.module.load_state_dict(
                {k.removeprefix(_MODEL): v for k, v in tensors.items() if k.startswith(_MODEL)}
            )
        except RuntimeError as error:
            raise BundleError(
                f"the checkpoint belongs to another architecture: {error}"[:300], hint="start a new run"
            ) from None
        if self.average is not None:
            with torch.no_grad():
                for i, average in enumerate(self.average.tensors):
                    average.copy_(tensors[f"{_EMA}{i:04d}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(_OPTIMIZER):
                number, _, name = key.removeprefix(_OPTIMIZER).partition(".")
                moments.setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.step, self.retries = int(facts["step"]), int(facts["retries"])
        self.schedule.attempt = int(facts["attempt"])
        self.lr_factor = float(facts["lr_factor"])
        self.loss, self.start_loss = (
            float(v) if v is not None else math.nan for v in (facts["loss"], facts["start_loss"])
        )

    def go_back(self, snapshot: Snapshot, attempt: int) -> None:
        """To a snapshot, with half of the learning rate that was used since."""
        retries, factor = self.retries + 1, self.lr_factor / 2
        self.restore(snapshot)
        self.retries, self.lr_factor, self.schedule.attempt = retries, factor, attempt
        self.keep()

    def finish(self) -> None:
        """The averaged weights, if any, become the module's, which is then in `eval` mode."""
        if self.average is not None:
            self.average.apply()
        self.module.eval()


def _or_none(value: float) -> float | None:
    """JSON has no nan."""
    return None if math.isnan(value) else value
