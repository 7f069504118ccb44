"""Receptive fields: against gradients, which see exactly what a place sees, and against published ones."""

import pytest
import torch
import torchvision
from torch import nn

from foveal import plan
from foveal.models.resolve import resolve


class Branches(nn.Module):
    """A wide and a narrow way that meet, and a way around."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.wide = nn.Sequential(
            nn.Conv2d(4, 4, (1, 7), padding=(0, 3)), nn.Conv2d(4, 4, 5, padding=4, dilation=2)
        )
        self.narrow = nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.pool(torch.cat([self.wide(x) + x, self.narrow(x)], 1))


class Upwards(nn.Module):
    """Down and up again."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 4, 4, 2, 1), nn.ConvTranspose2d(4, 4, 4, 2, 1)

    def forward(self, x):
        return self.up(self.down(x))


def seen(module, side):
    """Height and width of the input that changes the place in the middle."""
    x = torch.randn(1, 3, side, side, requires_grad=True)
    y = module.double().eval()(x.double())
    middle = y[:, :, y.shape[2] // 2, y.shape[3] // 2].sum()
    (gradient,) = torch.autograd.grad(middle, x)
    rows, columns = gradient.abs().sum((0, 1)).nonzero().T
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


def averaging(module):
    """Max pooling lets one place through: averages let all."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.MaxPool2d):
            p = child
            setattr(module, name, nn.AvgPool2d(p.kernel_size, p.stride, p.padding))
        else:
            averaging(child)
    return module


@pytest.mark.parametrize(
    "build",
    [
        Branches,
        lambda: resolve("conv8k5s2-conv8k3-avg3s2-conv4k3valid-conv4k2s2").build((3, 95, 95)),
        lambda: nn.Sequential(*list(torchvision.models.resnet18().children())[:5]),
    ],
)
def test_against_gradients(build):
    module = averaging(build())
    found = plan(module, input=(3, 95, 95), batch=2, remedies=False).layers[-1]
    assert found.receptive_field_hw == seen(module, 95)


def test_transposed_convolutions_see_at_least_what_gradients_see():
    module = Upwards()
    found = plan(module, input=(3, 64, 64), batch=2, remedies=False).layers[-1]
    assert found.receptive_field >= max(seen(module, 64))


#: Kernel and stride of every layer that looks further than a place; of MobileNetV2 its depthwise ones.
_VGG16 = [w for n in (2, 2, 3, 3, 3) for w in ([(3, 1)] * n + [(2, 2)])]
_ALEXNET = [(11, 4), (3, 2), (5, 1), (3, 2), (3, 1), (3, 1), (3, 1), (3, 2)]
_MOBILENET_V2 = [(3, s) for s in (2, 1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)]


@pytest.mark.parametrize(
    ("build", "layer", "windows"),
    [
        (torchvision.models.vgg16, "features.30", _VGG16),
        (torchvision.models.alexnet, "features.12", _ALEXNET),
        (torchvision.models.mobilenet_v2, "features.18.2", _MOBILENET_V2),
    ],
)
def test_against_the_recurrence_over_windows_read_off_the_papers(build, layer, windows):
    """r grows by (kernel - 1) times the product of the strides before (Araujo et al. 2019)."""
    field, jump = 1, 1
    for kernel, stride in windows:
        field, jump = field + (kernel - 1) * jump, jump * stride
    rows = {r.name: r for r in plan(build(), batch=2, remedies=False).layers}
    assert rows[layer].receptive_field == field


def test_pooling_over_all_places_and_attention_see_everything():
    rows = plan("conv8-gap-dense10", input=(3, 40, 30), batch=2, remedies=False).layers
    assert [r.receptive_field_hw for r in rows][-1] == (40, 30)
    vit = {r.name: r for r in plan("timm/vit_tiny_patch16_224", batch=2, remedies=False).layers}
    assert vit["patch_embed.proj"].receptive_field_hw == (16, 16)
    assert vit["head"].receptive_field_hw == (224, 224)
