"""Gradients of depthwise convolutions put together from quick ones are torch's own."""

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from foveal.fit.depthwise import plain, quicken


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
    quick = copy.deepcopy(conv)
    assert quicken(quick) == 1
    for mine, its in zip(gradients(quick, x), gradients(conv, x), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-4)
    for mine, its in zip(gradients(quick, x, half=True), gradients(conv, x), strict=True):
        assert torch.cosine_similarity(mine.flatten(), its.flatten(), dim=0) > 0.999


def test_others_are_left_alone_and_all_can_be_plain_again():
    module = nn.Sequential(
        nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, (3, 5), groups=8),
        nn.Conv2d(8, 8, 3, dilation=2, groups=8), nn.Conv2d(8, 8, 3, padding=1, groups=8),
    )  # fmt: skip
    names = list(module.state_dict())
    assert quicken(module) == 1 and "forward" in vars(module[4])
    assert list(module.state_dict()) == names
    again = copy.deepcopy(module)
    assert again[4].forward.__self__ is again[4]
    plain(module)
    assert not any("forward" in vars(part) for part in module)
