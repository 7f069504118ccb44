"""Peak memory and time of a piece of work; memory from the allocation events of torch's profiler."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from foveal.planner.scenario import Scenario
from foveal.planner.steps import make_optimizer, prepared, train_step


def peak_of(work: Callable[[], object], held: Iterable[Tensor]) -> int:
    """Peak bytes held by the CPU allocator during some work.

    Args:
        work: called once under the profiler. Call it once before, so that one-time allocations are not counted.
        held: tensors that exist throughout: weights, images, optimizer state.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it logs each start, and GPUs that are missing
    gc.collect()
    level = peak = sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}.values())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = profiler.profiler.kineto_results.events()
    for _, change in sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"):
        level += change
        peak = max(peak, level)
    return peak


def prediction_peak(network: nn.Module, images: Tensor) -> int:
    """Peak bytes of one prediction, weights and images included."""
    network.eval()
    with torch.no_grad():
        network(images[:1])
        return peak_of(lambda: network(images), [*network.parameters(), *network.buffers(), images])


def step_peak(network: nn.Module, images: Tensor, targets: Tensor, scenario: Scenario) -> int:
    """Peak bytes of a training step in the steady state, weights, optimizer state and images included.

    Args:
        network: is trained for two steps, and changed according to the scenario.
        images: `(N, C, H, W)`.
        targets: `(N,)`.
        scenario: batch, optimizer, precision and remedies.
    """
    network = prepared(network.train(), scenario)
    optimizer = make_optimizer(scenario.optimizer, network.parameters())
    train_step(network, optimizer, images, targets, scenario)
    optimizer.zero_grad(set_to_none=True)
    states = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, Tensor)]
    held = [*network.parameters(), *network.buffers(), *states, images, targets]
    return peak_of(lambda: train_step(network, optimizer, images, targets, scenario), held)


def in_chunks(tensor: Tensor, size: int) -> list[Tensor]:
    """The tensor in parts of at most `size` rows."""
    return [tensor[at : at + size] for at in range(0, len(tensor), size)]


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """The median time of some work, after one run that is not timed."""
    work()
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return sorted(durations)[len(durations) // 2]
