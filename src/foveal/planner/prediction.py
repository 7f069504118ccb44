"""How much memory one prediction takes, and nothing else: called often, so without the training step."""

from __future__ import annotations

import torch
from torch import nn

from foveal.planner.backends import backend_for
from foveal.planner.fake_network import to_fake_network
from foveal.planner.passes import new_fake, record_prediction
from foveal.planner.replay import Replay
from foveal.planner.scenario import Scenario


def prediction_bytes(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """What the allocator holds at most while the network predicts one image `(C, H, W)` on the CPU, weights
    included: the plan's upper bound."""
    fake = new_fake()
    recorder = record_prediction(to_fake_network(network, fake), fake, Scenario(input=shape), 1)
    backend = backend_for("cpu", torch.get_num_threads())
    return int(Replay(recorder.recording, None, backend).play(1).most)
