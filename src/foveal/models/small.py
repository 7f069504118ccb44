"""Convolutional networks for small images, up to about 64 pixels: 3 × 3 convolutions in stages, nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Convolution(nn.Module):
    """Convolution, batch normalisation (Ioffe and Szegedy 2015), ReLU: `(N, C, H, W)` to `(N, width, H', W')`."""

    def __init__(self, channels: int, width: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """One layer."""
        result: Tensor = torch.relu_(self.norm(self.convolution(x)))
        return result


class SmallNet(nn.Module):
    """Stages of convolutions, a max pooling of 2 between stages, the maximum over all positions, a linear layer.

    Args:
        channels: of the input.
        classes: outputs.
        stages: the widths of each stage's convolutions; `[[32, 32], [64, 64]]`.
        kernel, stride: of the first convolution, which always computes in fp32: with one input channel
            it is cheap, and half precision is least exact there.
        dropout: before the linear layer.
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        stages: Sequence[Sequence[int]],
        kernel: int = 3,
        stride: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = list(stages[0])
        self.stem = Convolution(channels, widths[0], kernel=kernel, stride=stride)
        layers: list[nn.Module] = []
        before = widths.pop(0)
        for number, stage in enumerate([widths, *map(list, stages[1:])]):
            if number:
                layers.append(nn.MaxPool2d(2))
            for width in stage:
                layers.append(Convolution(before, width))
                before = width
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:
        """Normalised images `(N, C, H, W)` to feature maps `(N, D, h, w)`."""
        with torch.autocast(x.device.type, enabled=False):
            x = self.stem(x.float())
        features: Tensor = self.layers(x)
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        """Feature maps to logits `(N, classes)`."""
        logits: Tensor = self.head(self.dropout(features.amax(dim=(2, 3))))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images `(N, C, H, W)` to logits `(N, classes)`."""
        return self.forward_head(self.forward_features(x))


class Ensemble(nn.Module):
    """Several networks whose probabilities are averaged; gives the logarithm of the mean, `(N, classes)`."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images `(N, C, H, W)` to log-probabilities."""
        each = torch.stack([torch.log_softmax(m(x).float(), dim=1) for m in self.members])
        return torch.logsumexp(each, dim=0) - torch.log(torch.tensor(float(len(self.members))))


#: Shifts of an image that `Shifted` averages over.
SHIFTS = 5


class Shifted(nn.Module):
    """A network's mean prediction over views of the image: small shifts, and their mirror images.

    Args:
        inner: the network.
        pixels: of the shifts, one in each direction and none; 0: the image as it is.
        mirror: whether each is seen mirrored from left to right, too.
    """

    def __init__(self, inner: nn.Module, pixels: int, *, mirror: bool = False) -> None:
        super().__init__()
        self.inner, self.pixels, self.mirror = inner, pixels, mirror

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images `(N, C, H, W)` to log-probabilities `(N, classes)`."""
        p, views = self.pixels, [x]
        if p:
            padded = nn.functional.pad(x, (p, p, p, p), mode="replicate")
            height, width = x.shape[2:]
            offsets = [(p, p), (0, p), (2 * p, p), (p, 0), (p, 2 * p)]
            views = [padded[:, :, y : y + height, c : c + width] for y, c in offsets]
        if self.mirror:
            views += [view.flip(3) for view in views]
        logits = self.inner(torch.cat(views)).float()
        # `len(x)` would fix the number of images in an exported graph.
        log_probabilities = torch.log_softmax(logits, dim=1).view(len(views), x.shape[0], -1)
        return torch.logsumexp(log_probabilities, dim=0) - torch.log(torch.tensor(float(len(views))))


class LinearNet(nn.Module):
    """Logits as a linear function of pixels, averaged over squares.

    Args:
        channels: of the input `(N, C, size, size)`.
        size: side of the input, pixels.
        pool: side of the squares, pixels; what is left over at the right and at the bottom is not seen.
        classes: of the output `(N, K)`.
    """

    def __init__(self, channels: int, size: int, pool: int, classes: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(pool)
        self.head = nn.Linear(channels * (size // pool) ** 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, size, size)` to `(N, K)`."""
        logits: Tensor = self.head(self.pool(x).flatten(1))
        return logits
