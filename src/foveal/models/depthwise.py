"""Depthwise convolutions whose gradients are put together from those that a processor computes fast.

oneDNN computes the gradient of a 3 × 3 depthwise kernel as fast as the way forth, that of a 5 × 5 one ten to fifty
times more slowly, and in bf16 the gradient of the input of a strided one more slowly still. So a large kernel's
gradient is taken in windows of 3 × 3, and an input's gradient at stride 1 is a convolution with the turned kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Side of the windows.
_WINDOW = 3


@contextmanager
def fast_depthwise(module: nn.Module, *, enabled: bool = True) -> Iterator[int]:
    """Inside, a network's depthwise convolutions compute gradients this way; parameters keep their names.

    Yields:
        How many convolutions there are.
    """
    parts = [p for p in module.modules() if isinstance(p, nn.Conv2d) and _takes(p)] if enabled else []
    try:
        for part in parts:
            part.forward = MethodType(_forward, part)  # type: ignore[method-assign]
        yield len(parts)
    finally:
        for part in parts:
            vars(part).pop("forward", None)


def _takes(part: nn.Conv2d) -> bool:
    square = len({*part.kernel_size}) == len({*part.stride}) == 1
    odd = part.kernel_size[0] >= _WINDOW and part.kernel_size[0] % 2 == 1
    depthwise = part.groups == part.in_channels == part.out_channels > 1
    padded = part.padding_mode == "zeros" and not isinstance(part.padding, str) and len({*part.padding}) == 1
    return depthwise and square and odd and padded and part.dilation == (1, 1)


def _forward(self: nn.Conv2d, x: Tensor) -> Tensor:
    """In bf16 under autocast, as any convolution."""
    weight, bias, stride = self.weight, self.bias, self.stride[0]
    if torch.is_autocast_enabled(x.device.type):
        kind = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
    padding = int(self.padding[0])
    if type(self) is not nn.Conv2d:  # timm's Conv2dSame, which pads by itself, as TensorFlow does
        x, padding = _padded_same(x, self.kernel_size[0], stride), 0
    result: Tensor = _Depthwise.apply(x, weight, bias, stride, padding)
    return result


def _padded_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """So that there is one place for every `stride` pixels begun; what is odd goes to the right and the bottom."""
    more = [max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in x.shape[-2:]]
    top, left = more[0] // 2, more[1] // 2
    return functional.pad(x, (left, more[1] - left, top, more[0] - top)) if any(more) else x


class _Depthwise(torch.autograd.Function):
    """`(N, C, H, W)`, `(C, 1, k, k)`, `(C,)` or None, stride, padding → `(N, C, H', W')`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.biased = stride, padding, bias is not None
        return functional.conv2d(x, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        of_x = _of_input(gradient, x, weight, stride, padding) if ctx.needs_input_grad[0] else None
        of_weight = _of_weight(gradient, x, weight, stride, padding) if ctx.needs_input_grad[1] else None
        of_bias = gradient.sum((0, 2, 3)) if ctx.biased and ctx.needs_input_grad[2] else None
        return of_x, of_weight, of_bias, None, None


def _of_input(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    if stride == 1:
        turned = weight.flip(2, 3)
        return functional.conv2d(gradient, turned, None, 1, weight.shape[-1] - 1 - padding, 1, len(weight))
    return _native(gradient.float(), x.float(), weight.float(), stride, padding, (True, False))[0].to(x.dtype)


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    side = weight.shape[-1]
    if side == _WINDOW:
        return _native(gradient, x, weight, stride, padding, (False, True))[1]
    wide = functional.pad(x, (padding,) * 4) if padding else x
    height, width = (stride * (n - 1) + _WINDOW for n in gradient.shape[-2:])
    window = weight.new_empty((len(weight), 1, _WINDOW, _WINDOW))
    step = _WINDOW - 1  # neighbouring windows share a row, which either of them may give
    rows = []
    for top in range(0, side - step, step):
        row = []
        for left in range(0, side - step, step):
            seen = wide[:, :, top : top + height, left : left + width]
            seen = seen.contiguous(memory_format=torch.channels_last)
            found = _native(gradient, seen, window, stride, 0, (False, True))[1]
            row.append(found[..., (1 if left else 0) :])
        rows.append(torch.cat(row, dim=3)[:, :, (1 if top else 0) :])
    return torch.cat(rows, dim=2)


def _native(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """torch's own gradients of input and kernel."""
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, [len(weight)], [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight),
        [*wanted, False],
    )  # fmt: skip
    return of_x, of_weight
