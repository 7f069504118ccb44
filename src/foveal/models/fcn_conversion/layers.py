"""The layers that a converted head is made of, with the weights of those that they replace."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Size = tuple[int, int]


class ChannelNorm(nn.Module):
    """A layer normalisation of vectors, at each position of a map."""

    def __init__(self, layer: nn.LayerNorm) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        normalised: Tensor = self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normalised


def batch_norm_2d(layer: nn.BatchNorm1d) -> nn.BatchNorm2d:
    """A batch normalisation of vectors, at each position of a map."""
    spatial = nn.BatchNorm2d(
        layer.num_features, layer.eps, affine=layer.affine, track_running_stats=layer.track_running_stats
    )
    spatial.load_state_dict(layer.state_dict())
    return spatial


def convolution_of(kernel: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A convolution without padding that shares these weights."""
    k, c, h, w = kernel.shape
    with torch.device("meta"):
        layer = nn.Conv2d(c, k, (h, w), bias=bias is not None)
    layer.weight = nn.Parameter(kernel.detach(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer


def covers(layer: nn.Conv2d, size: Size) -> bool:
    """Whether a convolution covers a map of this size once, as a whole."""
    padding = layer.padding if isinstance(layer.padding, tuple) else (1, 1)
    return tuple(layer.kernel_size) == size and padding == (0, 0) and layer.groups == 1


def fold_pooling(kernel: Tensor, window: Size, target: Size | None) -> Tensor:
    """A kernel for a map that was pooled to `target` as the kernel for the map before, of `window` cells.

    Both are linear: `Σ_t kernel[t] · pooled[t]` with `pooled[t] = Σ_s P[t, s] · map[s]`.
    """
    if target is None:
        return kernel
    down, across = (_shares(size, to) for size, to in zip(window, target, strict=True))
    return torch.einsum("kctu,th,uw->kchw", kernel.detach(), down.to(kernel.dtype), across.to(kernel.dtype))


def _shares(size: int, to: int) -> Tensor:
    """`(to, size)`: the share of each cell in each mean of an adaptive average pooling along one side."""
    return functional.adaptive_avg_pool1d(torch.eye(size, dtype=torch.float64)[:, None], to)[:, 0].T
