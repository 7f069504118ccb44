"""Networks without a twin, against the same network in torch's and torchvision's own parts; golden outputs."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.googlenet import GoogLeNet, Inception, InceptionAux
from torchvision.models.resnet import BasicBlock, ResNet

from foveal.models import zoo
from foveal.models.zoo.lenet5 import CONNECTIONS

GOLDEN = Path(__file__).parent / "golden.json"
WITHOUT_TWIN = ("lenet5", "lenet5_modern", "alexnet", "googlenet", "plain34")


def filled(name, **options):
    """Weights that need no random generator: sines of their number, scaled to keep signals at their size."""
    network = zoo.create(name, **options).eval()
    with torch.no_grad():
        for number, (key, value) in enumerate(network.state_dict().items()):
            if not value.ndim or key.endswith("codes"):
                continue
            waves = torch.sin(torch.arange(value.numel(), dtype=torch.float64) * 0.7391 * (1 + number) + number)
            if key.endswith("running_var") or (value.ndim == 1 and key.endswith("weight")):
                waves = 1.0 + 0.1 * waves
            elif value.ndim == 1 or key.endswith(("running_mean", "bias")):
                waves = 0.1 * waves
            elif value.ndim > 1 and value.shape[1:] != (1, 1):
                waves = waves * 2.0 / math.sqrt(value[0].numel())
            value.copy_(waves.view(value.shape))
    return network


def waves(*shape):
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * 0.3137).float().view(shape)


def agree(found, expected, tolerance=1e-5):
    assert found.shape == expected.shape and expected.std() > 0
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def lrn(alpha, k):
    return nn.LocalResponseNorm(5, alpha=alpha, beta=0.75, k=k)


@torch.inference_mode()
def test_alexnet_is_the_paper_in_torchs_parts():
    ours = filled("alexnet", classes=9)
    paper = nn.Sequential(
        *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), lrn(5e-4, 2.0), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), lrn(5e-4, 2.0), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 9)),
    ).eval()
    paper.load_state_dict(dict(zip(paper.state_dict(), ours.state_dict().values(), strict=True)))
    x = 50 * waves(2, 3, 227, 227)  # so large that the normalisation matters
    agree(ours(x), paper(x))
    assert [tuple(m.shape[2:]) for m in (ours.trunk[:1](x), ours.trunk(x))] == [(55, 55), (6, 6)]


class TrueInception(Inception):
    """torchvision's module with the 5 × 5 of the paper, its slip mended."""

    def __init__(self, in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj):
        super().__init__(in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj, Plainly)
        self.branch3[1] = Plainly(ch5x5red, ch5x5, kernel_size=5, padding=2)


class Plainly(nn.Module):
    def __init__(self, c, d, **options):
        super().__init__()
        self.conv = nn.Conv2d(c, d, **options)

    def forward(self, x):
        return F.relu(self.conv(x))


@torch.inference_mode()
def test_googlenet_is_torchvisions_frame_without_batch_normalisation():
    ours = filled("googlenet", classes=9)
    frame = GoogLeNet(
        9, aux_logits=False, init_weights=False, blocks=[Plainly, TrueInception, InceptionAux]
    ).eval()
    frame.load_state_dict(dict(zip(frame.state_dict(), ours.state_dict().values(), strict=True)))
    frame.maxpool1 = nn.Sequential(frame.maxpool1, lrn(1e-4, 1.0))
    frame.maxpool2 = nn.Sequential(lrn(1e-4, 1.0), frame.maxpool2)
    frame.maxpool4 = nn.MaxPool2d(3, 2, ceil_mode=True)
    x = 50 * waves(2, 3, 224, 224)
    agree(ours(x), frame(x))


class Plain(BasicBlock):
    """torchvision's block without its shortcut."""

    def __init__(self, inplanes, planes, stride=1, downsample=None, *rest, **more):
        super().__init__(inplanes, planes, stride, None, *rest, **more)

    def forward(self, x):
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))


@torch.inference_mode()
def test_plain34_is_resnet34_without_shortcuts():
    ours, theirs = filled("plain34", classes=9), ResNet(Plain, [3, 4, 6, 3], num_classes=9).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = waves(2, 3, 96, 96)
    agree(ours(x), theirs(x))


@torch.inference_mode()
def test_lenet5_is_its_definition_written_out():
    """C3 with a full kernel that is zero where table I has no mark; sub-sampling as a mean times four."""
    ours = filled("lenet5")
    state = ours.state_dict()

    def squash(a):
        return 1.7159 * torch.tanh(2 / 3 * a)

    def subsample(a, name):
        return squash(4 * F.avg_pool2d(a, 2) * state[f"trunk.{name}.0.weight"] + state[f"trunk.{name}.0.bias"])

    kernel, bias, i = torch.zeros(16, 6, 5, 5), torch.zeros(16), 0
    for group in range(3):
        for own, b in zip(
            state[f"trunk.c3.0.groups.{group}.weight"], state[f"trunk.c3.0.groups.{group}.bias"], strict=True
        ):
            kernel[i, list(CONNECTIONS[i])], bias[i], i = own, b, i + 1
    x = waves(2, 1, 32, 32)
    s2 = subsample(squash(F.conv2d(x, state["trunk.c1.0.weight"], state["trunk.c1.0.bias"])), "s2")
    s4 = subsample(squash(F.conv2d(s2, kernel, bias)), "s4")
    c5 = squash(F.conv2d(s4, state["head.c5.0.weight"], state["head.c5.0.bias"])).flatten(1)
    f6 = squash(F.linear(c5, state["head.f6.0.weight"], state["head.f6.0.bias"]))
    agree(ours(x), -(torch.cdist(f6, state["head.output.codes"]) ** 2))


@pytest.mark.parametrize("name", WITHOUT_TWIN)
@torch.inference_mode()
def test_golden_outputs(name):
    """Kept when the tests above were green; made anew with `python tests/models/zoo/test_references.py`."""
    agree(answers(name), torch.tensor(json.loads(GOLDEN.read_text())[name]), tolerance=1e-4)


def answers(name):
    card = zoo.card(name)
    return filled(name, classes=10)(waves(1, *card.input_shape))[0]


if __name__ == "__main__":
    with torch.inference_mode():
        GOLDEN.write_text(json.dumps({name: answers(name).tolist() for name in WITHOUT_TWIN}, indent=1) + "\n")
