"""Layers and networks that only the studies use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

#: Channels → what makes a map half as wide and high (or, at stride 1, what stands behind a convolution).
Make = Callable[[int], nn.Module]


class BlurPool(nn.Module):
    """Every second place of a map blurred by a 3 × 3 binomial filter (Zhang 2019, "Making convolutional networks
    shift-invariant again"): what falls between two places is not lost to aliasing. Nothing is learned.

    Args:
        channels: of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.channels = channels
        self.register_buffer("kernel", (row[:, None] * row)[None, None].repeat(channels, 1, 1, 1))
        self.kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, ⌈H / 2⌉, ⌈W / 2⌉)`."""
        wide = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return nn.functional.conv2d(wide, self.kernel, stride=2, groups=self.channels)


class Permuted(nn.Module):
    """Another network behind a fixed permutation of the pixels: what lay side by side does no longer.

    Args:
        inner: takes the permuted pictures.
        side: height and width.
    """

    def __init__(self, inner: nn.Module, side: int) -> None:
        super().__init__()
        self.inner = inner
        order = torch.randperm(side * side, generator=torch.Generator().manual_seed(0), device="cpu")
        self.register_buffer("order", order)
        self.order: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to what the inner network makes of it."""
        answers: Tensor = self.inner(x.flatten(2)[:, :, self.order].view(x.shape))
        return answers


def dense(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    """One hidden layer, normalised as the convolutions are: `(N, C, H, W)` to `(N, classes)`."""
    layers = [nn.Flatten(), nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


def tower(
    channels: int, widths: Sequence[int], classes: int, block: Callable[[int, int], nn.Module]
) -> nn.Sequential:
    """Blocks in a row, the mean over all places, a linear layer.

    Args:
        channels: of the input.
        widths: of the blocks' outputs.
        classes: outputs.
        block: channels in and out → a block.
    """
    before = [channels, *widths]
    blocks = [block(c, width) for c, width in zip(before[:-1], widths, strict=True)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))
