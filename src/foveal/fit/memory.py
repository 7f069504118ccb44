"""Training within a budget of memory: how a step is made to fit is chosen by the plan, before the first one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from foveal.errors import MemoryShort, UsageError
from foveal.fit.job import Settings
from foveal.fit.pieces import Pieces, Rise, free_memory
from foveal.fit.strategies.base import Work
from foveal.machine import ALARM, available, cgroup_limit, frugal_malloc, rss
from foveal.planner.backends import backend_for
from foveal.planner.convolution import Backend
from foveal.planner.passes import replay_training
from foveal.planner.prediction import prediction_bytes
from foveal.planner.process import measured
from foveal.planner.remedy import checkpoint_blocks
from foveal.planner.replay import Replay
from foveal.planner.scenario import Scenario

#: Copies of weights, averages and moments that the loop makes: the last good state, and the bytes of a checkpoint.
_COPIES = 2
#: Recordings, by network and scenario: each takes about a second.
_Recorded = dict[Any, Replay]


@dataclass(frozen=True)
class Choice:
    """How a training step is made to fit.

    Attributes:
        pieces: of each batch.
        checkpoint: blocks compute their activations twice.
        planned_bytes: the allocator's peak with that, as an upper bound.
        room_bytes: what the allocator may use of the budget.
        fits: whether the plan says so.
        reason: in words.
    """

    pieces: int
    checkpoint: bool
    planned_bytes: int
    room_bytes: int
    fits: bool
    reason: str


def choose(
    module: nn.Module,
    scenario: Scenario,
    budget: int,
    *,
    beside: int | None = None,
    recorded: _Recorded | None = None,
) -> Choice:
    """The cheapest way for a training step to stay within a budget of resident memory.

    Checkpointing costs a third more time and changes nothing; pieces cost little, and change what batch
    normalisations see. So a network without them is cut in pieces first, one with them is checkpointed first.

    Args:
        module: the network; not touched.
        scenario: input, batch, optimizer and precision.
        budget: resident bytes of the whole process.
        beside: resident bytes beside the tensors of training; by default what the process has now.
        recorded: recordings made earlier, to which new ones are added.
    """
    used = (rss() or 0) if beside is None else beside
    beyond = measured()
    room = max(0, int((ALARM * budget - used - beyond["first_step_bytes"]) / beyond["malloc_frugal"]))
    record = _Recorder(module, {} if recorded is None else recorded)
    whole = record(scenario.but(accumulate=1)).play(scenario.batch).most
    if whole <= room:
        return Choice(1, False, whole, room, True, "a whole batch fits")
    normed = any(isinstance(m, _BatchNorm) for m in module.modules())
    tried: list[Choice] = []
    for checkpoint in (True, False) if normed else (False, True):
        tried.append(_cut(record, scenario, checkpoint, room))
        if tried[-1].fits and (not normed or tried[-1].pieces == 1):
            return tried[-1]
    return min(
        (c for c in tried if c.fits), key=lambda c: c.pieces, default=min(tried, key=lambda c: c.planned_bytes)
    )


def economical(
    name: str, module: nn.Module, batch: Callable[[int], tuple[Tensor, Tensor]], settings: Settings, work: Work
) -> Pieces:
    """Make a training fit into this run's memory: decided once, and done to the module.

    Args:
        name: of the training, for the decisions.
        module: checkpointed in place, where that is the choice.
        batch: of a step.
        settings: optimizer, precision, averages.
        work: the job and its budget.

    Raises:
        MemoryShort: when not even single pictures fit into what was asked for.
    """

    def chosen() -> tuple[dict[str, Any], str]:
        choice = _chosen(
            module, batch(0)[0], settings.optimizer, settings.precision, work, _copies(module, settings)
        )
        return asdict(choice), choice.reason

    value = work.decisions.settle(f"{name} memory", chosen)
    choice, rises = Choice(**value), work.decisions.made.get(f"{name} in more pieces", {"value": []})["value"]
    allowed = _allowed(work)
    if not choice.fits and allowed is not None:
        raise MemoryShort(
            f"{name} does not fit into {allowed} bytes of memory: {choice.reason}",
            hint="allow more, or take a strategy that needs less: --strategy frozen",
        )
    return _applied(
        choice,
        module,
        work,
        rises=[(step, count) for step, count in rises],
        on_rise=lambda made: work.decisions.record(
            f"{name} in more pieces", [list(r) for r in made], "memory ran short"
        ),
    )


def trial_pieces(module: nn.Module, inputs: Tensor, optimizer: str, precision: str, work: Work) -> Pieces:
    """The same for a few steps that measure speed: nothing is written down."""
    return _applied(_chosen(module, inputs, optimizer, precision, work, 0), module, work)


def has_room(work: Work) -> bool:
    """Whether memory is not limited, or less than half is gone; otherwise what can be had again is let go."""
    allowed = _allowed(work)
    if allowed is None or (rss() or 0) <= allowed / 2:
        return True
    work.make_room()
    free_memory()
    return False


def answered_at_once(module: nn.Module, shape: tuple[int, int, int], most: int, work: Work) -> int:
    """How many pictures `(C, H, W)` a network answers together: `most`, or as many as a budget has room for.

    Decided once a size, since sums depend on it bit for bit.
    """
    allowed = _allowed(work)
    if allowed is None:
        return most

    def chosen() -> tuple[int, str]:
        work.make_room()
        free_memory()
        weights = sum(t.nbytes for t in module.state_dict().values())
        try:
            each = max(1, prediction_bytes(module, shape) - weights)
        except UsageError as refusal:
            return most, f"not planned: {refusal.message}"
        room = (ALARM * allowed - (rss() or 0)) / measured()["malloc_frugal"]
        return max(1, min(most, int(room / each))), f"one takes {each} bytes, there are {max(0, int(room))}"

    return int(work.decisions.settle(f"answered at once, {shape[-1]} px", chosen))


def _chosen(module: nn.Module, inputs: Tensor, optimizer: str, precision: str, work: Work, copies: int) -> Choice:
    if work.memory is not None:
        work.make_room()
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
        budget, beside = int(torch.cuda.mem_get_info()[0]), copies
    else:
        resident = rss() or 0
        budget, beside = _budget(work, resident), resident + copies
    try:
        choice = choose(module, scenario, budget, beside=beside, recorded=work.plans)
    except UsageError as refusal:  # a network that can't be traced trains all the same, and is watched
        return Choice(1, False, 0, 0, True, f"not planned: {refusal.message}")
    if choice.pieces > 1 or choice.checkpoint or _allowed(work) is not None:
        frugal_malloc()  # as the plan takes it
    return choice


def _allowed(work: Work) -> int | None:
    """Resident bytes beyond which this process is ended, or was asked not to go; None where nobody says."""
    return min((n for n in (work.memory, cgroup_limit()) if n is not None), default=None)


def _budget(work: Work, resident: int) -> int:
    """Resident bytes that this process may have; where nobody knows, more than any machine has."""
    free = available()
    most = (1 << 60) if free is None else free + resident
    return min(most, _allowed(work) or most)


def _copies(module: nn.Module, settings: Settings) -> int:
    """Bytes of what the loop keeps beside the tensors of a step."""
    weights: int = sum(t.nbytes for t in module.state_dict().values())
    learned: int = sum(p.nbytes for p in module.parameters() if p.requires_grad)
    averages = weights if settings.ema else 0
    moments = learned * (2 if settings.optimizer == "adamw" else 1)
    first = weights + averages if settings.guard else 0
    return averages + first + _COPIES * (weights + averages + moments)


def _applied(
    choice: Choice,
    module: nn.Module,
    work: Work,
    rises: Sequence[Rise] = (),
    on_rise: Callable[[Sequence[Rise]], None] = lambda _: None,
) -> Pieces:
    if choice.checkpoint:
        checkpoint_blocks(module)
    return Pieces(choice.pieces, _allowed(work), work.progress.say, list(rises), on_rise)


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
    """The fewest pieces that fit, with or without checkpoints."""
    form = scenario.but(checkpoint="blocks" if checkpoint else "none", accumulate=1)
    pieces, need = 1, record(form).play(scenario.batch).most
    while need > room and pieces < scenario.batch:
        pieces = min(scenario.batch, pieces * 2)
        small = math.ceil(scenario.batch / pieces)
        pictures = 4 * math.prod(scenario.input) * (scenario.batch - 2 * small)
        need = record(form.but(accumulate=2)).play(small).most + max(0, pictures)
    words = [f"{pieces} pieces of a batch"] if pieces > 1 else []
    words += ["blocks that compute their activations twice"] if checkpoint else []
    reason = f"{' and '.join(words) or 'a whole batch'}: {need} of {room} bytes"
    return Choice(pieces, checkpoint, need, room, need <= room, reason)
