"""Gradient accumulation: a batch in as many micro-batches as memory allows, more of them when memory runs out.

Gradients of the micro-batches are added by weight. Without batch normalisation the result is that of the whole batch
apart from rounding; batch normalisations see one micro-batch at a time, and their running statistics move as far as
one whole batch would move them.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from foveal.machine import release_file_pages, rss
from foveal.memory_budget import MemoryBudget

#: Inputs, targets and weight of a micro-batch → its mean loss; gradients of `weight * loss` are added up.
Compute = Callable[[Tensor, Tensor, float], Tensor]

#: Messages of the allocators that raise a plain RuntimeError when memory runs out.
_WORDS = ("DefaultCPUAllocator", "could not create a memory", "MPS backend out of memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: a GPU's own, or the plain RuntimeError of the CPU's allocator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


@dataclass
class SideEffects:
    """What a forward pass changes besides its result: random states, and buffers such as running statistics."""

    random: Tensor
    gpus: list[Tensor]
    buffers: list[Tensor]

    @classmethod
    def of(cls, module: nn.Module) -> SideEffects:
        """As it is now."""
        gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
        gpus = [torch.mps.get_rng_state()] if torch.backends.mps.is_available() else gpus
        return cls(torch.get_rng_state(), gpus, [b.detach().clone() for b in module.buffers()])

    def restore(self, module: nn.Module) -> None:
        """As it was then."""
        torch.set_rng_state(self.random)
        if self.gpus and torch.backends.mps.is_available():
            torch.mps.set_rng_state(self.gpus[0])
        elif self.gpus:
            torch.cuda.set_rng_state_all(self.gpus)
        with torch.no_grad():
            for buffer, old in zip(module.buffers(), self.buffers, strict=True):
                buffer.copy_(old)


#: From which step on, in how many micro-batches.
Increase = tuple[int, int]


@dataclass
class GradientAccumulator:
    """Computes gradients of batches, in as many micro-batches as memory allows.

    Their number depends on the step alone, so that a resumed or replayed training cuts its batches alike.

    Attributes:
        count: micro-batches of a batch, as planned.
        budget: of the process; without one only allocation failures count.
        say: told in words when their number rises.
        increases: from which steps on there are more.
        on_increase: called with all increases before a new one takes effect.
    """

    count: int = 1
    budget: MemoryBudget = field(default_factory=MemoryBudget)
    say: Callable[[str], None] = lambda _: None
    increases: list[Increase] = field(default_factory=list)
    on_increase: Callable[[Sequence[Increase]], None] = lambda _: None

    def at(self, step: int) -> int:
        """How many micro-batches the batch of a step is cut in."""
        return max([self.count, *(count for since, count in self.increases if since <= step)])

    def gradients(self, step: int, module: nn.Module, inputs: Tensor, targets: Tensor, compute: Compute) -> Tensor:
        """Set the gradients of one batch; gives its mean loss, a scalar.

        Args:
            step: its number.
            module: its gradients are let go first.
            inputs: `(N, C, H, W)`.
            targets: `(N, …)`.
            compute: forward and backward of one micro-batch.

        Raises:
            RuntimeError: when even single images do not fit.
        """
        self._watch(step, len(inputs))
        while True:
            before = SideEffects.of(module)
            loss = self._attempt(self.at(step), module, inputs, targets, compute)
            if loss is not None:
                return loss
            # Outside of the except block: the error held the frames, and so the tensors, of the failed pass.
            module.zero_grad(set_to_none=True)
            free_memory()
            before.restore(module)
            self._increase(step, len(inputs), "memory ran out")

    def _attempt(
        self, count: int, module: nn.Module, inputs: Tensor, targets: Tensor, compute: Compute
    ) -> Tensor | None:
        module.zero_grad(set_to_none=True)
        count = min(count, len(inputs))
        total = torch.zeros((), device=inputs.device)
        try:
            with scaled_norm_momentum(module, count):
                for some, wanted in zip(inputs.tensor_split(count), targets.tensor_split(count), strict=True):
                    weight = len(some) / len(inputs)
                    total += weight * compute(some, wanted, weight).detach()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or count == len(inputs):
                raise
            return None
        return total

    def _watch(self, step: int, batch: int) -> None:
        """Use less before the limit: on Linux a process that needs too much is killed, and gets no exception."""
        if (rss() or 0) < self.budget.alarm:
            return
        free_memory()
        if (rss() or 0) >= self.budget.alarm and self.at(step) < batch:
            self._increase(step, batch, "memory runs short")

    def _increase(self, step: int, batch: int, why: str) -> None:
        count = min(batch, self.at(step) * 2)
        self.increases.append((step, count))
        self.on_increase(self.increases)
        self.say(f"{why}: from step {step} on each batch of {batch} is computed in {count} micro-batches")


@contextmanager
def scaled_norm_momentum(module: nn.Module, count: int) -> Iterator[None]:
    """Batch normalisations that see `count` micro-batches move their running statistics as far as one batch would."""
    if count == 1:
        yield
        return
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.momentum is not None]
    before = [m.momentum for m in norms]
    try:
        for m, momentum in zip(norms, before, strict=True):
            m.momentum = 1 - (1 - (momentum or 0.0)) ** (1 / count)
        yield
    finally:
        for m, momentum in zip(norms, before, strict=True):
            m.momentum = momentum


def free_memory() -> None:
    """Give back unused memory: garbage, the GPU's cache, glibc's free blocks, code of libraries."""
    gc.collect()
    release_file_pages()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # another C library
            return
