"""Training within a memory budget: how a step is made to fit is planned before the first one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from foveal.decisions import ACCUMULATION, MEMORY, PREDICTION_BATCH
from foveal.errors import MemoryShort, UsageError
from foveal.machine import available, return_large_blocks, rss
from foveal.memory_budget import ALARM, MemoryBudget
from foveal.planner.backends import backend_for
from foveal.planner.convolution import Backend
from foveal.planner.passes import replay_training
from foveal.planner.prediction import prediction_bytes
from foveal.planner.process import measured
from foveal.planner.remedy import checkpoint_blocks
from foveal.planner.replay import Replay
from foveal.planner.scenario import Scenario
from foveal.planner.sheet import size_text
from foveal.training.context import RunContext
from foveal.training.loop.grad_accumulation import GradientAccumulator, Increase, free_memory
from foveal.training.loop.task import LoopSettings

#: Copies of weights, averages and moments that the loop makes: the last good state, and the bytes of a checkpoint.
_COPIES = 2
#: Recordings, by network and scenario: each takes about a second.
_Recorded = dict[Any, Replay]


@dataclass(frozen=True)
class Choice:
    """How a training step is made to fit.

    Attributes:
        micro_batches: of each batch.
        checkpoint: blocks recompute their activations.
        planned_bytes: the allocator's peak with that, as an upper bound.
        room_bytes: what the allocator may use of the budget.
        fits: whether the plan says so.
        reason: in words.
    """

    micro_batches: int
    checkpoint: bool
    planned_bytes: int
    room_bytes: int
    fits: bool
    reason: str


def choose(
    module: nn.Module,
    scenario: Scenario,
    budget: MemoryBudget,
    *,
    other_bytes: int | None = None,
    recorded: _Recorded | None = None,
) -> Choice:
    """The cheapest way for a training step to stay within a budget of resident memory.

    Activation checkpointing costs a third more time and changes nothing; micro-batches cost little, and change what
    batch normalisations see. So a network without them accumulates gradients first, one with them is checkpointed
    first.

    Args:
        module: the network; not touched.
        scenario: input, batch, optimizer and precision.
        budget: of the whole process, or of a GPU.
        other_bytes: resident bytes besides the tensors of training; by default what the process has now.
        recorded: recordings made earlier, to which new ones are added.
    """
    used = (rss() or 0) if other_bytes is None else other_bytes
    beyond = measured()
    room = max(0, int((budget.alarm - used - beyond["first_step_bytes"]) / beyond["malloc_frugal"]))
    record = _Recorder(module, {} if recorded is None else recorded)
    whole = record(scenario.but(accumulate=1)).play(scenario.batch).most
    if whole <= room:
        return Choice(1, False, whole, room, True, "a whole batch fits")
    normed = any(isinstance(m, _BatchNorm) for m in module.modules())
    tried: list[Choice] = []
    for checkpoint in (True, False) if normed else (False, True):
        tried.append(_cut(record, scenario, checkpoint, room))
        if tried[-1].fits and (not normed or tried[-1].micro_batches == 1):
            return tried[-1]
    return min(
        (c for c in tried if c.fits),
        key=lambda c: c.micro_batches,
        default=min(tried, key=lambda c: c.planned_bytes),
    )


def accumulator_for(
    name: str,
    module: nn.Module,
    batch: Callable[[int], tuple[Tensor, Tensor]],
    settings: LoopSettings,
    context: RunContext,
) -> GradientAccumulator:
    """Make a training fit into this run's memory: decided once, and applied to the module.

    Args:
        name: of the training, for the decisions.
        module: checkpointed in place, where that is the choice.
        batch: of a step.
        settings: optimizer, precision, averages.
        context: of the run, with its budget.

    Raises:
        MemoryShort: when not even single images fit into the budget.
    """

    def chosen() -> tuple[dict[str, Any], str]:
        inputs, copies = batch(0)[0], _copies(module, settings)
        choice = _chosen(module, inputs, settings.optimizer, settings.precision, context, copies)
        return asdict(choice), choice.reason

    choice = Choice(**context.decisions.settle(MEMORY.of(name), chosen))
    if not choice.fits and context.memory.total is not None:
        raise MemoryShort(
            f"{size_text(context.memory.total)} of memory is too little: {name} needs at least "
            f"{size_text(_needed(choice, _copies(module, settings)))}",
            hint="allow more, or take a strategy that needs less: --strategy frozen",
        )
    increases = context.decisions.get(ACCUMULATION.of(name)) or []

    def record(made: Sequence[Increase]) -> None:
        rows: list[tuple[int, ...]] = [tuple(row) for row in made]
        context.decisions.record(ACCUMULATION.of(name), rows, "memory ran short")

    return _applied(choice, module, context, [(step, count) for step, count in increases], record)


def trial_accumulator(
    module: nn.Module, inputs: Tensor, optimizer: str, precision: str, context: RunContext
) -> GradientAccumulator:
    """The same for a few steps that measure speed: nothing is written down."""
    return _applied(_chosen(module, inputs, optimizer, precision, context, 0), module, context)


def has_room(context: RunContext) -> bool:
    """Whether caches may be kept; otherwise they are dropped."""
    if (rss() or 0) <= context.memory.caches:
        return True
    context.free_memory()
    free_memory()
    return False


def prediction_batch(module: nn.Module, shape: tuple[int, int, int], most: int, context: RunContext) -> int:
    """How many images `(C, H, W)` a network predicts at once: `most`, or as many as a budget has room for.

    Decided once for a size, since sums depend on it bit for bit.
    """
    if context.memory.total is None:
        return most

    def chosen() -> tuple[int, str]:
        context.free_memory()
        free_memory()
        weights = sum(t.nbytes for t in module.state_dict().values())
        try:
            each = max(1, prediction_bytes(module, shape) - weights)
        except UsageError as refusal:
            return most, f"not planned: {refusal.message}"
        room = (context.memory.alarm - (rss() or 0)) / measured()["malloc_frugal"]
        return max(
            1, min(most, int(room / each))
        ), f"an image takes {size_text(each)}, {size_text(max(0, int(room)))} are free"

    return context.decisions.settle(PREDICTION_BATCH.of(f"{shape[-1]}px"), chosen)


def _chosen(
    module: nn.Module, inputs: Tensor, optimizer: str, precision: str, context: RunContext, copies: int
) -> Choice:
    if not context.memory.ample:
        context.free_memory()
        free_memory()
    channels, height, width = inputs.shape[1:]
    scenario = Scenario(
        (channels, height, width),
        len(inputs),
        optimizer=f"{optimizer}-foreach",
        precision="bf16" if precision == "bf16" else "fp32",
        channels_last=True,
    )
    if inputs.device.type == "cuda":
        budget, other = MemoryBudget(int(torch.cuda.mem_get_info(inputs.device)[0])), copies
    else:
        resident = rss() or 0
        budget, other = context.memory.within_machine(available(), resident), resident + copies
    try:
        choice = choose(module, scenario, budget, other_bytes=other, recorded=context.plans)
    except UsageError as refusal:  # a network that can't be traced is trained all the same, and watched
        return Choice(1, False, 0, 0, True, f"not planned: {refusal.message}")
    if choice.micro_batches > 1 or choice.checkpoint or context.memory.total is not None:
        return_large_blocks()  # as the plan takes it
    return choice


def _needed(choice: Choice, copies: int) -> int:
    """Resident bytes of a process that makes a step as chosen, after what it holds now."""
    beyond = measured()
    tensors = beyond["first_step_bytes"] + beyond["malloc_frugal"] * choice.planned_bytes
    return int(((rss() or 0) + copies + tensors) / ALARM)


def _copies(module: nn.Module, settings: LoopSettings) -> int:
    """Bytes of what the loop keeps besides the tensors of a step."""
    weights: int = sum(t.nbytes for t in module.state_dict().values())
    trained: int = sum(p.nbytes for p in module.parameters() if p.requires_grad)
    averages = weights if settings.ema else 0
    moments = trained * (2 if settings.optimizer == "adamw" else 1)
    first = 2 * weights + averages if settings.divergence_threshold else 0  # of the guard, and to fall back to
    return averages + first + _COPIES * (weights + averages + moments)


def _applied(
    choice: Choice,
    module: nn.Module,
    context: RunContext,
    increases: list[Increase] | None = None,
    on_increase: Callable[[Sequence[Increase]], None] = lambda _: None,
) -> GradientAccumulator:
    if choice.checkpoint:
        checkpoint_blocks(module)
    return GradientAccumulator(
        choice.micro_batches, context.memory, context.progress.say, increases or [], on_increase
    )


class _Recorder:
    """Training steps of one network, each scenario recorded once."""

    def __init__(self, module: nn.Module, recorded: _Recorded) -> None:
        self._module, self._recorded = module, recorded
        # Two networks whose parameters and layers are alike have the same plan.
        self._key = (str(module), tuple(p.requires_grad for p in module.parameters()))

    def __call__(self, scenario: Scenario) -> Replay:
        key = (*self._key, scenario.but(batch=1))
        if key not in self._recorded:
            self._recorded[key] = replay_training(self._module, scenario, _backend())
        return self._recorded[key]


def _backend() -> Backend:
    return backend_for("cpu", torch.get_num_threads())


def _cut(record: _Recorder, scenario: Scenario, checkpoint: bool, room: int) -> Choice:
    """The fewest micro-batches that fit, with or without activation checkpointing."""
    form = scenario.but(checkpoint="blocks" if checkpoint else "none", accumulate=1)
    micro_batches, need = 1, record(form).play(scenario.batch).most
    while need > room and micro_batches < scenario.batch:
        micro_batches = min(scenario.batch, micro_batches * 2)
        small = math.ceil(scenario.batch / micro_batches)
        images = 4 * math.prod(scenario.input) * (scenario.batch - 2 * small)
        need = record(form.but(accumulate=2)).play(small).most + max(0, images)
    words = [f"{micro_batches} micro-batches"] if micro_batches > 1 else []
    words += ["activation checkpointing of blocks"] if checkpoint else []
    reason = f"{' and '.join(words) or 'a whole batch'}: {size_text(need)} of {size_text(room)}"
    return Choice(micro_batches, checkpoint, need, room, need <= room, reason)
