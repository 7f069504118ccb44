"""Learning rates of the parts of a network, scaled by the root mean square of each tensor where that is asked for."""

import pytest
import torch
from torch import nn

from foveal.training.loop.loop import train_network
from foveal.training.loop.optim import optimizer_for
from foveal.training.loop.task import LoopSettings, TrainTask


def multipliers(module, **settings):
    """`lr_mult` of each parameter."""
    optimizer = optimizer_for(module, LoopSettings(1, 0.1, scale_lr_by_rms=True, optimizer="adamw", **settings))
    by_id = {id(p): group["lr_mult"] for group in optimizer.param_groups for p in group["params"]}
    return {name: by_id[id(p)] for name, p in module.named_parameters()}


def test_scaled_learning_rates_move_every_tensor_by_the_same_share():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    with torch.no_grad():
        module[0].weight.mul_(100)
    before = [p.detach().clone() for p in module.parameters()]
    task = TrainTask(
        "two", module, lambda _: (torch.randn(8, 4), torch.zeros(8, dtype=torch.long)), nn.functional.cross_entropy
    )
    train_network(task, LoopSettings(1, 0.01, scale_lr_by_rms=True, optimizer="adamw", warmup=0.0))
    moved = [
        float((p.detach() - b).abs().mean() / b.square().mean().sqrt())
        for p, b in zip(module.parameters(), before, strict=True)
    ]
    assert moved == pytest.approx([0.005, 0.005], rel=0.1)  # half of the peak in the one step of a line to zero


def test_the_backbone_is_scaled_and_the_rest_has_the_plain_learning_rate():
    module = nn.ModuleDict({"encoder": nn.Linear(2, 2), "decoder": nn.Linear(2, 2)})
    nn.init.constant_(module["encoder"].weight, 0.5)
    rates = multipliers(module, backbone_prefix="encoder.", backbone_lr_mult=2.0, weight_decay=0.01)
    assert rates["encoder.weight"] == pytest.approx(1.0)
    assert rates["decoder.weight"] == rates["decoder.bias"] == 1.0 and len(rates) == 4


def test_a_scaled_head_has_its_own_multiplier():
    module = nn.ModuleDict({"parts": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    for layer in module.values():
        nn.init.constant_(layer.weight, 0.5)
    rates = multipliers(module, head_lr_mult=0.25)
    assert rates["parts.weight"] == pytest.approx(0.5) and rates["head.weight"] == pytest.approx(0.125)
