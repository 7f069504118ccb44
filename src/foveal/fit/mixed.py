"""bf16 where it is faster on a processor: in convolutions over all channels.

Depthwise ones, and those on the picture itself, are slower in it, and so is all else that autocast would do in it.
"""

from __future__ import annotations

from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn import functional

from foveal.machine import instruction_sets

#: Convolutions on fewer channels are left alone: the picture itself.
_FEWEST = 8


def computes_bf16(device: str) -> bool:
    """Whether this processor has instructions for it."""
    return device == "cpu" and bool({"avx512_bf16", "amx_bf16"} & set(instruction_sets()))


def mix(module: nn.Module) -> int:
    """Let a network's convolutions over all channels compute in bf16, in place; weights and maps stay fp32.

    Names of parameters stay, and a module that is copied stays mixed.

    Returns:
        How many convolutions there are.
    """
    count = 0
    for part in module.modules():
        if type(part) is nn.Conv2d and part.groups == 1 and part.in_channels >= _FEWEST:
            part._conv_forward = MethodType(_in_bf16, part)  # type: ignore[method-assign]
            count += 1
    return count


def unmix(module: nn.Module) -> None:
    """All of it in fp32 again."""
    for part in module.modules():
        vars(part).pop("_conv_forward", None)


def _in_bf16(self: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    half = torch.bfloat16
    found = functional.conv2d(
        x.to(half), weight.to(half), None if bias is None else bias.to(half), self.stride, self.padding,
        self.dilation, self.groups,
    )  # fmt: skip
    return found.float()
