"""The truth about memory: what torch's profiler saw a real training step allocate and free."""

import gc

import torch
from torch.profiler import ProfilerActivity, profile

from foveal.planner.steps import make_optimizer, prepared, train_step


def true_peak(module, scenario):
    """Bytes at the highest point of a step in its steady state: events' running sum plus what was alive before."""
    torch.manual_seed(0)
    module = prepared(module.train(), scenario)
    optimizer = make_optimizer(scenario.optimizer, module.parameters())
    inputs = torch.randn(scenario.batch * scenario.accumulate, *scenario.input)
    if scenario.channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    targets = torch.zeros(len(inputs), dtype=torch.long)
    train_step(module, optimizer, inputs, targets, scenario)
    optimizer.zero_grad(set_to_none=True)
    gc.collect()
    states = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    held = (*module.parameters(), *module.buffers(), *states, inputs, targets)
    level = sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}.values())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        train_step(module, optimizer, inputs, targets, scenario)
    events = watched.profiler.kineto_results.events()
    peak = level
    for _, change in sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"):
        level += change
        peak = max(peak, level)
    return peak
