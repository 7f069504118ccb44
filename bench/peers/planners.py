"""The memory of a training step in bytes as other tools predict it, each used as its own documentation shows."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from foveal.planner.scenario import Scenario
from foveal.planner.steps import make_optimizer, prepared, train_step

Build = Callable[[], nn.Module]


def torchinfo(build: Build, scenario: Scenario) -> int:
    """torchinfo's "Estimated Total Size": input, forward and backward pass, parameters."""
    from torchinfo import summary

    info = summary(build(), (scenario.batch, *scenario.input), mode="train", verbose=0, device="cpu")
    return int(info.total_input + info.total_output_bytes + info.total_param_bytes)


def kitsune(build: Build, scenario: Scenario) -> int:
    """torch-kitsune's predicted peak of training."""
    from kitsune.predict import predict_memory

    name = scenario.optimizer
    with contextlib.redirect_stdout(io.StringIO()):
        predicted = predict_memory(
            build(), scenario.input, batch_size=scenario.batch, optimizer=name, training=True
        )
    parts = (
        predicted.param_bytes,
        predicted.gradient_bytes,
        predicted.optimizer_bytes,
        predicted.activation_bytes,
    )
    return int(sum(parts) + predicted.overhead_bytes)


def mem_tracker(build: Build, scenario: Scenario) -> int:
    """The peak of PyTorch's own MemTracker, over two steps on fake tensors."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker

    with FakeTensorMode(allow_non_fake_inputs=True):
        module = prepared(build().train(), scenario)
        optimizer: Any = make_optimizer(scenario.optimizer, module.parameters())
        inputs = torch.empty(scenario.batch, *scenario.input)
        targets = torch.zeros(scenario.batch, dtype=torch.long)
        tracker = MemTracker()
        tracker.track_external(module, optimizer, inputs, targets)
        with tracker:
            train_step(module, optimizer, inputs, targets, scenario)
            tracker.reset_mod_stats()
            train_step(module, optimizer, inputs, targets, scenario)
        peak = tracker.get_tracker_snapshot("peak")
    return int(peak[torch.device("cpu")]["Total"])


PEERS: dict[str, Callable[[Build, Scenario], int]] = {
    "torchinfo": torchinfo,
    "torch-kitsune": kitsune,
    "MemTracker": mem_tracker,
}
