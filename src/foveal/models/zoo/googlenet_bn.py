"""GoogLeNet with batch normalisation, as torchvision has it, after Ioffe and Szegedy (2015).

Its branch "5 × 5" is a 3 × 3: a slip that came with the weights it was first ported for, and was kept for them.
"""

from __future__ import annotations

from torch import nn

from foveal.models.zoo.blocks import Inception, convolution_norm, overlapping_pool
from foveal.models.zoo.googlenet import FEATURES, in_stages, table_rows
from foveal.models.zoo.network import Network, pooled_head


def _convolution(channels: int, width: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    return convolution_norm(channels, width, kernel, stride=stride, eps=0.001)


class GoogLeNetBN(Network):
    """For 224 × 224 pixels; no local response normalisation, no auxiliary classifiers: neither is needed."""

    def __init__(self, *, classes: int = 1000, channels: int = 3) -> None:
        stem: dict[str, nn.Module] = {
            "conv1": _convolution(channels, 64, 7, stride=2),
            "pool1": overlapping_pool(ceil_mode=True),
            "reduce2": _convolution(64, 64, 1),
            "conv2": _convolution(64, 192, 3),
            "pool2": overlapping_pool(ceil_mode=True),
        }
        modules = {name: Inception(c, widths, _convolution, largest=3) for name, c, widths in table_rows()}
        between = overlapping_pool(ceil_mode=True), nn.MaxPool2d(2, stride=2, ceil_mode=True)
        super().__init__(
            {**stem, **in_stages(modules, *between)},
            pooled_head(1024, classes, dropout=0.2),
            features=FEATURES,
            channels=channels,
            smallest=32,
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.01, a=-2, b=2)
