"""Layers and networks that only the studies use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class BlurPool(nn.Module):
    """Subsampling by 2 after a 3 × 3 binomial filter, which avoids aliasing (Zhang 2019, "Making convolutional
    networks shift-invariant again"). It has no parameters.

    Args:
        channels: of the feature map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.channels = channels
        self.register_buffer("kernel", (row[:, None] * row)[None, None].repeat(channels, 1, 1, 1))
        self.kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, ⌈H / 2⌉, ⌈W / 2⌉)`."""
        padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return nn.functional.conv2d(padded, self.kernel, stride=2, groups=self.channels)


class Permuted(nn.Module):
    """A network whose input pixels are permuted by a fixed permutation, so that neighbours are no longer adjacent.

    Args:
        inner: the network that takes the permuted images.
        size: height and width.
    """

    def __init__(self, inner: nn.Module, size: int) -> None:
        super().__init__()
        self.inner = inner
        order = torch.randperm(size * size, generator=torch.Generator().manual_seed(0), device="cpu")
        self.register_buffer("order", order)
        self.order: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the output of the inner network."""
        outputs: Tensor = self.inner(x.flatten(2)[:, :, self.order].view(x.shape))
        return outputs


def dense(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    """One hidden layer with batch normalisation, as the convolutions have: `(N, C, H, W)` to `(N, classes)`."""
    layers = [nn.Flatten(), nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


def tower(
    channels: int, widths: Sequence[int], classes: int, block: Callable[[int, int], nn.Module]
) -> nn.Sequential:
    """A sequence of blocks, global average pooling, a linear layer.

    Args:
        channels: of the input.
        widths: channels of the blocks' outputs.
        classes: number of outputs.
        block: input and output channels → a block.
    """
    inputs = [channels, *widths[:-1]]
    blocks = [block(c, width) for c, width in zip(inputs, widths, strict=True)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))
