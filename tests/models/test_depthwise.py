"""Gradients of depthwise convolutions that are assembled from fast ones equal torch's own."""

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from foveal.models.depthwise import fast_depthwise


def gradients(module, x, *, half=False):
    x = x.clone().requires_grad_()
    module.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out = module(x)
    (out.float() * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return out.float(), x.grad, *(p.grad for p in module.parameters())


CASES = [
    nn.Conv2d(8, 8, 3, padding=1, groups=8),
    nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False),
    nn.Conv2d(8, 8, 7, padding=3, groups=8),
    nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8),
    nn.Conv2d(8, 8, 5, padding=1, groups=8),
    Conv2dSame(8, 8, 3, stride=2, groups=8),
    Conv2dSame(8, 8, 5, stride=2, groups=8),
]


@pytest.mark.parametrize("conv", CASES, ids=str)
@pytest.mark.parametrize("side", [9, 12])
def test_they_are_what_torch_computes(conv, side):
    torch.manual_seed(0)
    x = torch.randn(3, 8, side, side).contiguous(memory_format=torch.channels_last)
    expected = gradients(conv, x)
    with fast_depthwise(conv) as count:
        full, half = gradients(conv, x), gradients(conv, x, half=True)
    assert count == 1
    for computed, reference in zip(full, expected, strict=True):
        torch.testing.assert_close(computed, reference, rtol=1e-4, atol=1e-4)
    for computed, reference in zip(half, expected, strict=True):
        assert torch.cosine_similarity(computed.flatten(), reference.flatten(), dim=0) > 0.999


def several():
    """Five convolutions, of which only the last is of the form that is replaced."""
    return nn.Sequential(
        nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, (3, 5), groups=8),
        nn.Conv2d(8, 8, 3, dilation=2, groups=8), nn.Conv2d(8, 8, 3, padding=1, groups=8),
    )  # fmt: skip


def test_other_convolutions_are_left_alone_and_afterwards_all_are_as_before():
    module = several()
    names = list(module.state_dict())
    with fast_depthwise(module) as count:
        assert count == 1 and "forward" in vars(module[4])
        assert list(module.state_dict()) == names
        duplicate = copy.deepcopy(module)
        assert duplicate[4].forward.__self__ is duplicate[4]
    assert not any("forward" in vars(part) for part in module)


def test_an_error_inside_leaves_no_replacement_behind():
    module = several()
    with pytest.raises(ZeroDivisionError), fast_depthwise(module):
        _ = 1 / 0
    assert not any("forward" in vars(part) for part in module)


def test_where_it_is_not_enabled_nothing_is_replaced():
    module = several()
    with fast_depthwise(module, enabled=False) as count:
        assert count == 0 and not any("forward" in vars(part) for part in module)
