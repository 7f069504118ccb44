"""Training within a budget of memory: chosen by the plan beforehand, watched, and gone on with when it fails.

A batch that does not fit is computed in pieces, whose gradients are added by weight. Without batch normalisation
the result is the whole batch's apart from rounding; batch normalisations see a piece at a time, and their running
statistics are moved by as much as one whole batch would move them.
"""

from __future__ import annotations

import ctypes
import gc
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from foveal.machine import rss
from foveal.planner.backends import backend_for
from foveal.planner.passes import replay_training
from foveal.planner.replay import Replay
from foveal.planner.scenario import Scenario

#: Inputs, targets and weight of a piece → its mean loss; gradients of `weight * loss` are added to the parameters.
Compute = Callable[[Tensor, Tensor, float], Tensor]

#: Of the budget, the share of resident memory from which on batches are cut in smaller pieces.
ALARM = 0.92
#: Beside tensors: what malloc keeps between them, and what libraries load in the first step.
_MALLOC, _FIRST_STEP = 1.10, 64 * 2**20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _LARGE = -1, -3, 2**20


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: a GPU's own, or the plain RuntimeError of the CPU's allocator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator" in said or "could not create a memory" in said
    )


@dataclass
class Kept:
    """What a forward pass changes beside its result: random states, and buffers such as running statistics."""

    random: Tensor
    gpus: list[Tensor]
    buffers: list[Tensor]

    @classmethod
    def of(cls, module: nn.Module) -> Kept:
        """As it is now."""
        gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
        return cls(torch.get_rng_state(), gpus, [b.detach().clone() for b in module.buffers()])

    def restore(self, module: nn.Module) -> None:
        """As it was then."""
        torch.set_rng_state(self.random)
        if self.gpus:
            torch.cuda.set_rng_state_all(self.gpus)
        with torch.no_grad():
            for buffer, before in zip(module.buffers(), self.buffers, strict=True):
                buffer.copy_(before)


@dataclass
class Pieces:
    """Computes gradients of batches, in as many pieces as memory asks for.

    Attributes:
        count: pieces of a batch; it only rises.
        budget: resident bytes that the process must stay under; None: only failures count.
        say: told in words when the count rises.
    """

    count: int = 1
    budget: int | None = None
    say: Callable[[str], None] = lambda _: None
    rises: list[int] = field(default_factory=list)

    def gradients(self, module: nn.Module, inputs: Tensor, targets: Tensor, compute: Compute) -> Tensor:
        """Set the gradients of one batch; gives its mean loss, a scalar.

        Args:
            module: its gradients are let go first.
            inputs: `(N, C, H, W)`.
            targets: `(N, …)`.
            compute: forward and backward of one piece.

        Raises:
            RuntimeError: when even single pictures do not fit.
        """
        self._look(len(inputs))
        while True:
            kept = Kept.of(module)
            found = self._tried(module, inputs, targets, compute)
            if found is not None:
                return found
            # Outside of the except block: the error held the frames, and so the tensors, of the failed pass.
            module.zero_grad(set_to_none=True)
            free_memory()
            kept.restore(module)
            self._rise(len(inputs), "memory ran out")

    def _tried(self, module: nn.Module, inputs: Tensor, targets: Tensor, compute: Compute) -> Tensor | None:
        module.zero_grad(set_to_none=True)
        count = min(self.count, len(inputs))
        total = torch.zeros((), device=inputs.device)
        try:
            with gentle_norms(module, count):
                for some, wanted in zip(inputs.tensor_split(count), targets.tensor_split(count), strict=True):
                    weight = len(some) / len(inputs)
                    total += weight * compute(some, wanted, weight).detach()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or count == len(inputs):
                raise
            return None
        return total

    def _look(self, batch: int) -> None:
        """Degrade before the limit: on Linux a process that needs too much is killed, and gets no exception."""
        resident = rss() if self.budget is not None else None
        if resident is None or self.budget is None or resident < ALARM * self.budget:
            return
        free_memory()
        if (rss() or 0) >= ALARM * self.budget and self.count < batch:
            self._rise(batch, "memory runs short")

    def _rise(self, batch: int, why: str) -> None:
        self.count = min(batch, self.count * 2)
        self.rises.append(self.count)
        self.say(f"{why}: each batch of {batch} is computed in {self.count} pieces from here on")


@contextmanager
def gentle_norms(module: nn.Module, count: int) -> Iterator[None]:
    """Batch normalisations that see `count` pieces move their running statistics as far as one batch would."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.momentum is not None]
    before = [m.momentum for m in norms]
    try:
        for m, momentum in zip(norms, before, strict=True):
            m.momentum = 1 - (1 - (momentum or 0.0)) ** (1 / count) if count > 1 else momentum
        yield
    finally:
        for m, momentum in zip(norms, before, strict=True):
            m.momentum = momentum


def free_memory() -> None:
    """Give back what is not used any more: Python's garbage, the GPU's cache, glibc's free blocks."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # another C library
            return


def frugal_malloc() -> None:
    """From here on glibc gives large blocks back at once: resident memory follows what tensors hold.

    For processes with a budget. Costs some time for pages that are taken again.
    """
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
            libc.mallopt(_M_TRIM_THRESHOLD, _LARGE)
        except (OSError, AttributeError):
            return


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


def choose(module: nn.Module, scenario: Scenario, budget: int, *, beside: int | None = None) -> Choice:
    """The cheapest way for a training step to stay within a budget of resident memory.

    Checkpointing costs a third more time and changes nothing; pieces cost little, and change what batch
    normalisations see. So a network without them is cut in pieces first, one with them is checkpointed first.

    Args:
        module: the network; not touched.
        scenario: input, batch, optimizer and precision.
        budget: resident bytes of the whole process.
        beside: resident bytes beside the tensors of training; by default what the process has now.
    """
    used = (rss() or 0) if beside is None else beside
    room = max(0, int((ALARM * budget - used - _FIRST_STEP) / _MALLOC))
    backend = backend_for("cpu", torch.get_num_threads())
    plain = replay_training(module, scenario.but(accumulate=1), backend)
    whole = plain.play(scenario.batch).most
    if whole <= room:
        return Choice(1, False, whole, room, True, "a whole batch fits")
    normed = any(isinstance(m, _BatchNorm) for m in module.modules())
    tried = []
    for checkpoint in (True, False) if normed else (False, True):
        tried.append(_cut(module, scenario, checkpoint, room))
        if tried[-1].fits and (not normed or tried[-1].pieces == 1):
            return tried[-1]
    return min(
        (c for c in tried if c.fits), key=lambda c: c.pieces, default=min(tried, key=lambda c: c.planned_bytes)
    )


def _cut(module: nn.Module, scenario: Scenario, checkpoint: bool, room: int) -> Choice:
    """The fewest pieces that fit, with or without checkpoints."""
    backend = backend_for("cpu", torch.get_num_threads())
    form = scenario.but(checkpoint="blocks" if checkpoint else "none", accumulate=1)
    one = replay_training(module, form, backend)
    many: Replay | None = None
    pieces, need = 1, one.play(scenario.batch).most
    while need > room and pieces < scenario.batch:
        pieces = min(scenario.batch, pieces * 2)
        many = many or replay_training(module, form.but(accumulate=2), backend)
        small = math.ceil(scenario.batch / pieces)
        pictures = 4 * math.prod(scenario.input) * (scenario.batch - 2 * small)
        need = many.play(small).most + max(0, pictures)
    words = [f"{pieces} pieces of a batch"] if pieces > 1 else []
    words += ["blocks that compute their activations twice"] if checkpoint else []
    reason = f"{' and '.join(words) or 'a whole batch'}: {need} of {room} bytes"
    return Choice(pieces, checkpoint, need, room, need <= room, reason)
