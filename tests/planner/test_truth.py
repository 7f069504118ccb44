"""Planned peaks against the profiler's, on networks that have one difficulty each."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional

import profiled
from foveal.models.resolve import resolve
from foveal.planner import plan
from foveal.planner.backends import backend_for
from foveal.planner.passes import replay_training
from foveal.planner.scenario import Scenario

INPUT = (3, 64, 64)


class Shared(nn.Module):
    """One layer used three times, a residual sum in place, and views."""

    def __init__(self):
        super().__init__()
        self.stem, self.again = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.head = nn.Linear(32 * 4, 10)

    def forward(self, x):
        x = self.stem(x)
        for _ in range(3):
            x = functional.relu_(self.again(x).add_(x))
        quarters = functional.adaptive_avg_pool2d(x, 2).transpose(1, 2).reshape(len(x), -1)
        return self.head(quarters)


class Attending(nn.Module):
    """Patches and attention, with a token of its own."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 64, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 64))
        self.block = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, dropout=0.1)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.block(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1))[:, 0])


def lazy():
    layers = [nn.LazyConv2d(16, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.LazyLinear(10))


def deep():
    rows = [
        part for _ in range(6) for part in (nn.Conv2d(24, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(True))
    ]
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, 2, 1), *rows, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)
    )


def dense():
    return torchvision.models.DenseNet(12, (3, 3), 16, num_classes=10)


def sketch(text):
    return lambda: resolve(text).build(INPUT)


CASES = {
    "sketch": (sketch("conv32k3s2-relu-pool2-lrn-conv64-bn-relu-gap-dense10"), {}),
    "strided and dilated": (sketch("conv40k5s2-conv36k3g4-relu-conv64k1s2-avg2-flatten-drop0.5-dense10"), {}),
    "no classifier": (sketch("conv16-conv32"), {}),
    "shared, in place, views": (Shared, {"optimizer": "adamw"}),
    "attention": (Attending, {"optimizer": "adamw"}),
    "lazy": (lazy, {}),
    "autocast": (deep, {"precision": "bf16"}),
    "checkpointed": (deep, {"checkpoint": "blocks"}),
    "accumulated": (deep, {"accumulate": 3, "batch": 2}),
    "step in backward": (deep, {"optimizer": "adamw-in-backward"}),
    "all parameters at once": (deep, {"optimizer": "adamw-foreach"}),
    "frozen": (deep, {"frozen": True}),
    "offloaded": (deep, {"offload": True}),
    "depthwise": (torchvision.models.mobilenet_v2, {"batch": 4}),
    "concatenated": (dense, {"batch": 2}),
    "auxiliary heads": (lambda: torchvision.models.googlenet(init_weights=False), {"batch": 2}),
    "channels last": (deep, {"channels_last": True}),
    "channels last and depthwise": (torchvision.models.mobilenet_v2, {"batch": 4, "channels_last": True}),
    "channels last inside": (lambda: timm.create_model("convnext_atto"), {"batch": 2}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_planned_peak_is_the_true_one(name):
    build, change = CASES[name]
    scenario = Scenario(input=INPUT, **{"batch": 6, **change})
    module = build()
    if name == "lazy":
        module(torch.zeros(2, *INPUT))
    played = replay_training(module, scenario, backend_for("cpu", torch.get_num_threads())).play(scenario.batch)
    truth = profiled.true_peak(module, scenario)
    assert played.peak == pytest.approx(truth, rel=0.02)
    assert truth <= played.most <= 1.12 * truth + 2**20
    assert sum(played.breakdown.values()) == played.peak


def test_planning_does_not_touch_the_network():
    module = deep()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    random = torch.get_rng_state()
    replay_training(module, Scenario(input=INPUT, checkpoint="blocks", frozen=True), backend_for("cpu", 1))
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert "forward" not in vars(module)
    assert torch.equal(torch.get_rng_state(), random)


class Looking(nn.Module):
    """A network that looks at a value of its tensors: it can't be run without content."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, x):
        x = self.body(x)
        x = x * 2 if float(x.detach().abs().amax()) > 1e9 else x
        return self.head(x.relu().mean((2, 3)))


def test_a_network_that_looks_at_values_is_run_on_a_few_pictures():
    found = plan(Looking(), input=(3, 32, 32), batch=6)
    assert "values" in " ".join(found.notes)
    truth = profiled.true_peak(Looking(), Scenario(input=(3, 32, 32), batch=6))
    assert found.train.peak_bytes == pytest.approx(truth, rel=0.02)
    assert {layer.name: layer.output_shape for layer in found.layers}["body"] == (8, 32, 32)
