"""The blocks that the architectures of the zoo are built from, each with its paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Makes one convolution with what belongs to it: (channels in, channels out, kernel) → module.
Make = Callable[[int, int, int], nn.Module]


class LocalResponseNorm(nn.Module):
    """Local response normalisation, as Krizhevsky et al. (2012, section 3.3) write it.

    `b_i = a_i / (k + alpha · Σ_j a_j²)^beta`, the sum over the `size` channels around `i`. torch (and Caffe)
    divide their `alpha` by `size` before they multiply: theirs is `size` times the one of the paper.

    Args:
        size: n, channels in the sum.
        alpha, beta, k: as in the formula; the defaults are the paper's.
    """

    def __init__(self, size: int = 5, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        return functional.local_response_norm(x, self.size, self.alpha * self.size, self.beta, self.k)

    def extra_repr(self) -> str:
        """The constants."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def overlapping_pool(*, ceil_mode: bool = False) -> nn.MaxPool2d:
    """Maxima of 3 × 3 places, every second one: neighbours overlap (Krizhevsky et al. 2012, section 3.4)."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=ceil_mode)


def convolution_relu(channels: int, width: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A "same" convolution with bias, and a ReLU."""
    convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups)
    return nn.Sequential(convolution, nn.ReLU(inplace=True))


def convolution_norm(
    channels: int,
    width: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    eps: float = 1e-5,
    relu: bool = True,
    padding: int | None = None,
) -> nn.Sequential:
    """Convolution without bias, batch normalisation (Ioffe and Szegedy 2015), ReLU.

    Args:
        channels, width: in and out.
        kernel, stride, groups: of the convolution.
        eps: of the normalisation.
        relu: whether one follows.
        padding: by default half the kernel: "same".
    """
    around = kernel // 2 if padding is None else padding
    convolution = nn.Conv2d(channels, width, kernel, stride, around, groups=groups, bias=False)
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(width, eps=eps)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


@dataclass(frozen=True)
class InceptionWidths:
    """A row of table 1 of Szegedy et al. (2014): `#1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj`."""

    one: int
    reduce3: int
    three: int
    reduce5: int
    five: int
    pool: int

    @property
    def total(self) -> int:
        """Channels of the output."""
        return self.one + self.three + self.five + self.pool


class Inception(nn.Module):
    """Four views of one map, side by side (Szegedy et al. 2014, figure 2b).

    Args:
        channels: in.
        widths: of the branches.
        make: one convolution with what follows it.
        largest: kernel of the branch that the paper gives 5 × 5.
    """

    def __init__(self, channels: int, widths: InceptionWidths, make: Make, *, largest: int = 5) -> None:
        super().__init__()
        self.one = make(channels, widths.one, 1)
        self.three = nn.Sequential(make(channels, widths.reduce3, 1), make(widths.reduce3, widths.three, 3))
        self.five = nn.Sequential(make(channels, widths.reduce5, 1), make(widths.reduce5, widths.five, largest))
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), make(channels, widths.pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, widths.total, H, W)`."""
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


class SqueezeExcitation(nn.Module):
    """Each channel times a gate that is computed from the means of all of them (Hu et al. 2017).

    The mean runs over all positions: what a gate does at one position depends on the whole image.

    Args:
        channels: in and out.
        reduction: the bottleneck between the two layers is this many times narrower.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // reduction, 1)
        self.expand = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        gates = self.expand(torch.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        result: Tensor = x * torch.sigmoid(gates)
        return result


class Residual(nn.Module):
    """`relu(inner(x) + shortcut(x))` (He et al. 2015).

    Args:
        inner: the residual function.
        shortcut: brings `x` to the shape of `inner(x)`; None where it has it already.
    """

    def __init__(self, inner: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.inner = inner
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C', H', W')`."""
        return torch.relu_(self.inner(x) + self.shortcut(x))


def basic(channels: int, width: int, *, stride: int = 1) -> list[nn.Module]:
    """Two 3 × 3 convolutions: what a block of ResNet-18 and -34 computes next to its shortcut."""
    return [
        convolution_norm(channels, width, 3, stride=stride),
        convolution_norm(width, width, 3, relu=False),
    ]


def bottleneck(channels: int, width: int, *, stride: int = 1) -> list[nn.Module]:
    """1 × 1, 3 × 3 and 1 × 1 to four times the width, as in ResNet-50 and deeper.

    The stride is in the 3 × 3: the paper puts it into the first 1 × 1, which then drops three places of four.
    """
    return [
        convolution_norm(channels, width, 1),
        convolution_norm(width, width, 3, stride=stride),
        convolution_norm(width, 4 * width, 1, relu=False),
    ]


class DepthwiseSeparable(nn.Sequential):
    """A filter for each channel, then a 1 × 1 convolution over the channels (Chollet 2016), `(N, C, H, W)`.

    A 3 × 3 convolution costs `9 · C · C'` multiplications a place, this `C · (9 + C')`.
    """

    def __init__(self, channels: int, width: int, *, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False),
            nn.Conv2d(channels, width, 1, bias=False),
        )
