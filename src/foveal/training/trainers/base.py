"""What the trainers have in common: a protocol, one way to run a training, one way to measure its speed."""

from __future__ import annotations

import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.clock import Deadline
from foveal.decisions import MEMORY, RESTARTS, SCHEDULE_CHANGES, STOPPED_AT
from foveal.models.depthwise import fast_depthwise
from foveal.models.trained import TrainedModel
from foveal.prefetch import wait_for_prefetch
from foveal.training.context import RunContext
from foveal.training.loop.checkpoints import Checkpoints
from foveal.training.loop.device import Device
from foveal.training.loop.loop import train_network
from foveal.training.loop.lr_schedule import Change, Schedule
from foveal.training.loop.memory_plan import accumulator_for, trial_accumulator
from foveal.training.loop.optim import optimizer_for
from foveal.training.loop.task import LoopSettings, Loss, Outcome, TrainTask
from foveal.training.time_budget import TIMED_SHARE, TIMED_STEPS, TRIAL_PARTS, steps_that_fit
from foveal.values import Preprocess, SplitRecord

Array = NDArray[np.float32]
#: Weights to continue from, and the number of steps that were made to them.
InitialWeights = tuple[Mapping[str, Array], int]


class Batches(Protocol):
    """Step → inputs and targets, always the same for the same step."""

    @property
    def size(self) -> int:
        """Images in a batch."""
        ...

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step."""
        ...


@dataclass(frozen=True)
class Training:
    """A trained network.

    Attributes:
        module: the network.
        settings: how it was trained, as JSON-able values.
        outcome: how that went.
        complete: whether it came to the end of its schedule.
        start: the weights that it began from, where they are a usable model.
    """

    module: nn.Module
    settings: dict[str, Any]
    outcome: Outcome
    complete: bool
    start: Mapping[str, Array] | None = None


class Trainer(ABC):
    """Trains networks of one recipe by gradient descent, and knows how long that takes.

    Strategies plan with a trainer and choose; a trainer chooses nothing but how to compute.

    Attributes:
        context: of the run.
        device: where gradients are computed.
        preprocess: of the network's input.
        network: arguments of `models.networks.build`.
    """

    context: RunContext
    device: Device
    preprocess: Preprocess
    network: dict[str, Any]

    @abstractmethod
    def all_steps(self, records: Sequence[SplitRecord]) -> int:
        """Steps of the recipe for these images, when there is time for all."""

    @abstractmethod
    def step_seconds(self) -> float:
        """Of one batch, measured on this machine and remembered among the decisions."""

    @abstractmethod
    def prediction_seconds(self, count: int) -> float:
        """To predict so many images with the trained network."""

    @abstractmethod
    def train(
        self,
        name: str,
        records: Sequence[SplitRecord],
        steps: int,
        *,
        deadline: Deadline,
        max_steps: int = 0,
        start: InitialWeights | None = None,
    ) -> Training:
        """Train one network.

        Args:
            name: of the training, in decisions and checkpoints.
            records: the images to train on.
            steps: how many.
            deadline: of the last step.
            max_steps: to how many steps it may grow, when they turn out faster than planned.
            start: where to continue; by default from the recipe's own beginning.
        """

    @abstractmethod
    def predict(self, module: nn.Module, records: Sequence[SplitRecord]) -> Any:  # noqa: ANN401
        """Logits `(N, K)` of images, or a list of masks `(H, W)`."""

    def trained_model(self, module: nn.Module) -> TrainedModel:
        """The network as a bundle keeps it."""
        tensors = {k: v.detach().cpu().contiguous().numpy() for k, v in module.state_dict().items()}
        return TrainedModel(tensors, self.preprocess, network=self.network)

    def steps_that_fit(self, records: Sequence[SplitRecord], seconds: float) -> tuple[int, str]:
        """How many steps fit these seconds, at most all of the recipe; and why."""
        return steps_that_fit(self.all_steps(records), self.step_seconds(), seconds)


def weights_of(module: nn.Module) -> dict[str, Array]:
    """A copy of all weights, as they are now."""
    return {k: v.detach().cpu().numpy().copy() for k, v in module.state_dict().items()}


def load_weights(module: nn.Module, weights: Mapping[str, Array]) -> None:
    """Copy these weights into a module."""
    module.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in weights.items()})


def run_training(
    name: str,
    module: nn.Module,
    batches: Batches,
    settings: LoopSettings,
    loss: Loss,
    context: RunContext,
    *,
    seed: int,
    deadline: Deadline,
) -> tuple[Outcome, bool]:
    """Train a module as this run's decisions and checkpoints say; returns how it went, and whether it is complete.

    Where an earlier process, or the clock, ended or shortened it is among the decisions, and is obeyed; what an
    earlier process began is not shortened for the time that was lost.
    """
    decisions = context.decisions
    stopped = decisions.get(STOPPED_AT.of(name))
    schedule = _schedule(name, settings, context)
    accumulator = accumulator_for(name, module, batches, settings, context)
    begun = decisions.was_given(MEMORY.of(name))
    fast = settings.precision == "bf16" and next(module.parameters()).device.type == "cpu"
    with (
        fast_depthwise(module, enabled=fast),
        context.clock.lap("fit"),
        context.clock.no_deadline() if begun else nullcontext(),
    ):
        outcome = train_network(
            TrainTask(name, module, batches, loss, seed=seed, batch_size=batches.size),
            settings,
            deadline=deadline,
            progress=context.progress,
            checkpoints=_checkpoints(name, context),
            stop_at=None if stopped is None else (decisions.get(RESTARTS.of(name)) or 0, stopped),
            schedule=schedule,
            accumulator=accumulator,
        )
    if outcome.steps < schedule.end and stopped is None:
        _record_stop(name, outcome, context)
    return outcome, decisions.get(STOPPED_AT.of(name)) is None


def _schedule(name: str, settings: LoopSettings, context: RunContext) -> Schedule:
    changes = context.decisions.get(SCHEDULE_CHANGES.of(name)) or []

    def record(made: Sequence[Change]) -> None:
        rows: list[tuple[int, ...]] = [tuple(row) for row in made]
        context.decisions.record(SCHEDULE_CHANGES.of(name), rows, "steps take another time than was measured")

    return Schedule(
        settings.steps,
        settings.warmup,
        settings.cosine,
        [(attempt, at, end) for attempt, at, end in changes],
        record,
        max_steps=settings.max_steps,
    )


def _checkpoints(name: str, context: RunContext) -> Checkpoints | None:
    return Checkpoints(context.checkpoints / name, context.progress.say) if context.checkpoints else None


def _record_stop(name: str, outcome: Outcome, context: RunContext) -> None:
    if outcome.restarts:
        context.decisions.record(RESTARTS.of(name), outcome.restarts, "it was the last of these that was stopped")
    context.decisions.record(STOPPED_AT.of(name), outcome.steps, "time was up, or the user asked to stop")


def measure_step(
    module: nn.Module, batches: Batches, device: Device, context: RunContext, *, optimizer: str, loss: Loss
) -> float:
    """Seconds of a training step, over a few steps after a first one; the weights stay.

    Five are timed, or as many as a small share of the time left has room for. Where a part of a batch shows that not
    even one has, that part has to tell.
    """
    accumulator = trial_accumulator(module, batches(0)[0], optimizer, device.precision, context)
    stepping = optimizer_for(module, LoopSettings(1, 0.0, optimizer=optimizer))

    def compute(inputs: Tensor, targets: Tensor, weight: float) -> Tensor:
        with torch.autocast(device.name, torch.bfloat16, enabled=device.precision == "bf16"):
            outputs = module(inputs)
        value = loss(outputs.float(), targets)
        (weight * value).backward()  # type: ignore[no-untyped-call]
        return value

    def step(number: int, inputs: Tensor, targets: Tensor) -> tuple[float, float]:
        since = time.perf_counter()
        float(accumulator.gradients(number, module, inputs, targets, compute))  # waits for a GPU
        computed = time.perf_counter()
        stepping.step()
        return computed - since, time.perf_counter() - computed

    wait_for_prefetch()
    most = TIMED_SHARE * context.deadline.left()
    inputs, targets = batches(0)
    part = max(1, len(inputs) // TRIAL_PARTS)
    with fast_depthwise(module, enabled=device.precision == "bf16" and device.name == "cpu"):
        step(0, inputs[:part], targets[:part])
        computing, updating = step(0, inputs[:part], targets[:part])
        taken = [computing * len(inputs) / part + updating]
        if taken[0] <= most:
            step(0, inputs, targets)
            began, taken = time.perf_counter(), []
            while not taken or (len(taken) < TIMED_STEPS and time.perf_counter() - began <= most):
                taken.append(sum(step(len(taken) + 1, *batches(len(taken) + 1))))
    module.zero_grad(set_to_none=True)
    return statistics.fmean(taken)
