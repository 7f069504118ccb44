"""The blocks, each against torch, timm, torchvision, or its paper's formula written out."""

import math

import pytest
import timm.layers
import torch
from timm.models.xception import Block, SeparableConv2d
from torch import nn
from torchvision.models.googlenet import Inception as TorchInception
from torchvision.models.resnet import BasicBlock, Bottleneck

from foveal.models.zoo import blocks
from foveal.models.zoo.lenet5 import CONNECTIONS, PartialConvolution, RadialBasis, ScaledTanh, Subsampling
from foveal.models.zoo.xception import XceptionBlock
from twins import load_in_order


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shaken(module):
    """The module with everything drawn anew, running statistics too, in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    state = {}
    for name, value in module.state_dict().items():
        drawn = torch.randn(value.shape, generator=generator)
        state[name] = value if not value.ndim else drawn.abs() + 0.5 if name.endswith("var") else drawn / 3
    module.load_state_dict(state)
    return module.eval()


def test_lrn_is_the_formula_of_the_paper():
    """Krizhevsky et al. 2012, section 3.3: b_i = a_i / (k + α Σ_j a_j²)^β, j around i by n/2."""
    a, n, k, alpha, beta = seeded(2, 9, 3, 3).double() * 20, 5, 2.0, 1e-4, 0.75
    expected = torch.empty_like(a)
    for i in range(9):
        around = a[:, max(0, i - n // 2) : min(8, i + n // 2) + 1]
        expected[:, i] = a[:, i] / (k + alpha * (around**2).sum(1)) ** beta
    assert torch.allclose(blocks.LocalResponseNorm()(a), expected, rtol=1e-12)


@pytest.mark.parametrize("size", [3, 5, 7])
def test_lrn_is_torchs_with_its_alpha_times_n(size):
    a = seeded(2, 8, 4, 4) * 20
    ours = blocks.LocalResponseNorm(size, alpha=0.01, beta=0.6, k=1.5)(a)
    assert torch.allclose(ours, nn.LocalResponseNorm(size, alpha=0.01 * size, beta=0.6, k=1.5)(a))
    assert not torch.allclose(ours, nn.LocalResponseNorm(size, alpha=0.01, beta=0.6, k=1.5)(a))


def test_pooling_overlaps():
    """Every value at an odd place belongs to two windows in each direction: raising it raises four maxima."""
    x = torch.zeros(1, 1, 7, 7)
    x[0, 0, 2, 2] = 1.0
    assert blocks.overlapping_pool()(x).sum() == 4 and nn.MaxPool2d(2)(x).sum() == 1


def test_residual_blocks_are_torchvisions():
    basic = BasicBlock(
        8, 16, stride=2, downsample=nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
    )
    ours = blocks.Residual(
        nn.Sequential(*blocks.basic(8, 16, stride=2)), blocks.convolution_norm(8, 16, 1, stride=2, relu=False)
    ).eval()
    load_in_order(ours, shaken(basic).state_dict())
    assert torch.allclose(ours(seeded(2, 8, 9, 9)), basic(seeded(2, 8, 9, 9)), atol=1e-6)


def test_bottlenecks_are_torchvisions():
    theirs = shaken(Bottleneck(32, 8))
    ours = blocks.Residual(nn.Sequential(*blocks.bottleneck(32, 8)), None).eval()
    load_in_order(ours, theirs.state_dict())
    assert torch.allclose(ours(seeded(2, 32, 7, 7)), theirs(seeded(2, 32, 7, 7)), atol=1e-5)


def test_inception_is_torchvisions():
    widths = blocks.InceptionWidths(4, 3, 5, 2, 6, 7)
    theirs = shaken(TorchInception(8, 4, 3, 5, 2, 6, 7))
    make = lambda c, d, k: blocks.convolution_norm(c, d, k, eps=0.001)  # noqa: E731
    ours = blocks.Inception(8, widths, make, largest=3).eval()
    load_in_order(ours, theirs.state_dict())
    assert widths.total == 22 and torch.allclose(ours(seeded(2, 8, 6, 6)), theirs(seeded(2, 8, 6, 6)), atol=1e-5)


def test_squeeze_and_excitation_is_timms():
    theirs = shaken(timm.layers.SEModule(32, rd_channels=2))
    ours = blocks.SqueezeExcitation(32)
    load_in_order(ours, theirs.state_dict())
    assert torch.allclose(ours(seeded(2, 32, 5, 5)), theirs(seeded(2, 32, 5, 5)), atol=1e-6)


def test_a_gate_depends_on_places_far_away():
    module = shaken(blocks.SqueezeExcitation(32))
    x = seeded(1, 32, 8, 8)
    y = x.clone()
    y[..., 7, 7] += 50.0
    assert not torch.allclose(module(x)[..., 0, 0], module(y)[..., 0, 0])


def test_separable_convolution_is_timms_and_is_the_product_of_its_parts():
    theirs = shaken(SeparableConv2d(6, 10, 3, padding=1))
    ours = blocks.DepthwiseSeparable(6, 10)
    load_in_order(ours, theirs.state_dict())
    x = seeded(2, 6, 5, 5)
    full = ours[1].weight[:, :, 0, 0, None, None] * ours[0].weight[:, 0][None]
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    assert torch.allclose(ours(x), nn.functional.conv2d(x, full, padding=1), atol=1e-5)


@pytest.mark.parametrize("shrink", [False, True])
def test_xceptions_block_is_timms(shrink):
    theirs = Block(8, 8, 2, 2 if shrink else 1)
    ours = XceptionBlock(8, (8, 8), shrink=shrink).eval()
    load_in_order(ours, shaken(theirs).state_dict())
    assert torch.allclose(ours(seeded(2, 8, 9, 9)), theirs(seeded(2, 8, 9, 9)), atol=1e-5)


def test_the_squashing_function_has_the_properties_it_was_chosen_for():
    """LeCun et al. 1998, appendix A: f(1) = 1, f(-1) = -1, gain at the origin about 1, curvature largest at 1."""
    f = ScaledTanh()
    at = torch.tensor([-1.0, 1.0], dtype=torch.double)
    assert torch.allclose(f(at), at, atol=1e-4)
    x = torch.linspace(0.01, 3, 2991, dtype=torch.double, requires_grad=True)
    (slope,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    sharpest = float(x.detach()[curvature.abs().argmax()])
    assert abs(sharpest - 1.0) < 0.02 and abs(float(slope.detach()[0]) - 1.0) < 0.15


def test_subsampling_sums_weighs_and_shifts():
    layer = Subsampling(2)
    nn.init.constant_(layer.weight, 0.5)
    nn.init.constant_(layer.bias, 3.0)
    x = torch.arange(2 * 2 * 4, dtype=torch.float32).view(1, 2, 2, 4)
    assert layer(x)[0, 0].tolist() == [[0.5 * (0 + 1 + 4 + 5) + 3, 0.5 * (2 + 3 + 6 + 7) + 3]]


def test_c3_sees_what_table_one_says():
    """The gradient of each map reaches just the maps of S2 that the table marks: six of 3, nine of 4, one of 6."""
    layer, x = PartialConvolution(), seeded(1, 6, 5, 5).requires_grad_()
    seen = []
    for map_ in layer(x)[0]:
        (gradient,) = torch.autograd.grad(map_.sum(), x, retain_graph=True)
        seen.append(tuple(i for i in range(6) if gradient[0, i].any()))
    assert seen == [tuple(sorted(c)) for c in CONNECTIONS]
    assert [len(c) for c in seen] == [3] * 6 + [4] * 9 + [6] and sum(map(len, seen)) == 60


def test_the_output_is_minus_the_distance_to_a_code():
    layer = RadialBasis(10)
    x = seeded(3, 84)
    expected = -(torch.cdist(x.double(), layer.codes.double()) ** 2)
    assert torch.allclose(layer(x).double(), expected, atol=1e-3)
    assert torch.equal(layer(layer.codes).argmax(1), torch.arange(10))
    maps = seeded(2, 84, 3, 4)
    assert torch.allclose(layer(maps)[1, :, 2, 3], layer(maps[1, :, 2, 3][None])[0])


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_codes_differ(classes):
    codes = RadialBasis(classes).codes
    assert codes.shape == (classes, 84) and set(codes.unique().tolist()) == {-1.0, 1.0}
    apart = (84 - codes @ codes.T) / 2 + 84 * torch.eye(classes)
    assert apart.min() >= (1 if classes == 10 else 84 // 2 - 4 * math.isqrt(84) // 2)
