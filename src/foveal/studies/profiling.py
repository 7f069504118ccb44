"""What torch really allocates: the highest point of a piece of work, from its profiler's memory events.

Made of torch: import it inside functions only.
"""

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
    """Bytes of the allocator at the highest point of some work on the CPU.

    Args:
        work: called once, watched; call it before, so that what is made once is there.
        held: tensors that are there before and stay: weights, pictures, the optimizer's state.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it tells of every start, and of GPUs that are not there
    gc.collect()
    level = peak = sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}.values())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        work()
    events = watched.profiler.kineto_results.events()
    for _, change in sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"):
        level += change
        peak = max(peak, level)
    return peak


def prediction_peak(network: nn.Module, pictures: Tensor) -> int:
    """Of one prediction, weights and pictures included."""
    network.eval()
    with torch.no_grad():
        network(pictures[:1])
        return peak_of(lambda: network(pictures), [*network.parameters(), *network.buffers(), pictures])


def step_peak(network: nn.Module, pictures: Tensor, targets: Tensor, scenario: Scenario) -> int:
    """Of a training step in its steady state, weights, optimizer's state and pictures included.

    Args:
        network: is trained by two steps, and changed as the scenario says.
        pictures: `(N, C, H, W)`.
        targets: `(N,)`.
        scenario: how it is trained.
    """
    network = prepared(network.train(), scenario)
    optimizer = make_optimizer(scenario.optimizer, network.parameters())
    train_step(network, optimizer, pictures, targets, scenario)
    optimizer.zero_grad(set_to_none=True)
    states = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, Tensor)]
    held = [*network.parameters(), *network.buffers(), *states, pictures, targets]
    return peak_of(lambda: train_step(network, optimizer, pictures, targets, scenario), held)


def in_pieces(tensor: Tensor, size: int) -> list[Tensor]:
    """Pieces of at most this many rows."""
    return [tensor[at : at + size] for at in range(0, len(tensor), size)]


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """The median time of some work; it runs once more before, unwatched."""
    work()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]
