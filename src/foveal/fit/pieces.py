"""Gradients of a batch in as many pieces as memory asks for: watched, and gone on with when memory runs out.

A batch that does not fit is computed in pieces, whose gradients are added by weight. Without batch normalisation
the result is the whole batch's apart from rounding; batch normalisations see a piece at a time, and their running
statistics are moved by as much as one whole batch would move them.
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

from foveal.machine import ALARM, forget_code, rss

#: Inputs, targets and weight of a piece → its mean loss; gradients of `weight * loss` are added to the parameters.
Compute = Callable[[Tensor, Tensor, float], Tensor]

#: How torch's allocators without an error of their own say that memory ran out.
_WORDS = ("DefaultCPUAllocator", "could not create a memory", "MPS backend out of memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: a GPU's own, or the plain RuntimeError of the CPU's allocator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


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
            for buffer, before in zip(module.buffers(), self.buffers, strict=True):
                buffer.copy_(before)


#: From which step on, in how many pieces.
Rise = tuple[int, int]


@dataclass
class Pieces:
    """Computes gradients of batches, in as many pieces as memory asks for.

    The number depends on the step alone, so that a training which goes on, or is repeated, cuts its batches alike.

    Attributes:
        count: pieces of a batch, as planned.
        budget: resident bytes that the process must stay under; None: only failures count.
        say: told in words when there are more.
        rises: from which steps on there are more.
        on_rise: told of all rises before a new one takes effect.
    """

    count: int = 1
    budget: int | None = None
    say: Callable[[str], None] = lambda _: None
    rises: list[Rise] = field(default_factory=list)
    on_rise: Callable[[Sequence[Rise]], None] = lambda _: None

    def at(self, step: int) -> int:
        """How many pieces the batch of a step is cut in."""
        return max([self.count, *(count for since, count in self.rises if since <= step)])

    def gradients(self, step: int, module: nn.Module, inputs: Tensor, targets: Tensor, compute: Compute) -> Tensor:
        """Set the gradients of one batch; gives its mean loss, a scalar.

        Args:
            step: its number.
            module: its gradients are let go first.
            inputs: `(N, C, H, W)`.
            targets: `(N, …)`.
            compute: forward and backward of one piece.

        Raises:
            RuntimeError: when even single pictures do not fit.
        """
        self._look(step, len(inputs))
        while True:
            kept = Kept.of(module)
            found = self._tried(self.at(step), module, inputs, targets, compute)
            if found is not None:
                return found
            # Outside of the except block: the error held the frames, and so the tensors, of the failed pass.
            module.zero_grad(set_to_none=True)
            free_memory()
            kept.restore(module)
            self._rise(step, len(inputs), "memory ran out")

    def _tried(
        self, count: int, module: nn.Module, inputs: Tensor, targets: Tensor, compute: Compute
    ) -> Tensor | None:
        module.zero_grad(set_to_none=True)
        count = min(count, len(inputs))
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

    def _look(self, step: int, batch: int) -> None:
        """Degrade before the limit: on Linux a process that needs too much is killed, and gets no exception."""
        if self.budget is None or (rss() or 0) < ALARM * self.budget:
            return
        free_memory()
        if (rss() or 0) >= ALARM * self.budget and self.at(step) < batch:
            self._rise(step, batch, "memory runs short")

    def _rise(self, step: int, batch: int, why: str) -> None:
        count = min(batch, self.at(step) * 2)
        self.rises.append((step, count))
        self.on_rise(self.rises)
        self.say(f"{why}: from step {step} on each batch of {batch} is computed in {count} pieces")


@contextmanager
def gentle_norms(module: nn.Module, count: int) -> Iterator[None]:
    """Batch normalisations that see `count` pieces move their running statistics as far as one batch would."""
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
    """Give back what is not used any more: garbage, the GPU's cache, glibc's free blocks, code of libraries."""
    gc.collect()
    forget_code()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # another C library
            return
