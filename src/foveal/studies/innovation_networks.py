"""The networks of the study `innovations`: each small, one with what an architecture brought and one without."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from foveal.models.zoo.blocks import (
    DepthwiseSeparable,
    Inception,
    InceptionWidths,
    Residual,
    SqueezeExcitation,
    basic,
    convolution_norm,
    convolution_relu,
)
from foveal.studies.layers import tower

#: Channels of the input, and outputs → a network.
Build = Callable[[int, int], nn.Module]

#: Widths of plain towers: of the one with separable convolutions so that it has as many parameters.
FULL, SEPARABLE = (12, 24, 32), (20, 60, 108)
#: A row of GoogLeNet's table shrunk, and the width of a 3 × 3 convolution with as many multiplications.
BRANCHES, ONE_BRANCH = InceptionWidths(8, 8, 12, 2, 4, 4), (10, 18)


def squashed(squash: Callable[[], nn.Module]) -> Build:
    """AlexNet's pattern without normalisation: three convolutions, each followed by this function."""

    def build(channels: int, classes: int) -> nn.Module:
        def block(before: int, width: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(before, width, 3, padding=1), squash(), nn.MaxPool2d(2))

        return tower(channels, (12, 24, 32), classes, block)

    return build


def dropping(share: float) -> Build:
    """Two convolutions and two dense layers of 128, AlexNet's dropout before each (Krizhevsky et al. 2012)."""

    def build(channels: int, classes: int) -> nn.Module:
        convolutions = [convolution_relu(channels, 12, 5, stride=2), nn.MaxPool2d(2), convolution_relu(12, 24, 3)]
        pool = nn.AdaptiveMaxPool2d(4)
        first = [nn.Dropout(share), nn.Linear(24 * 16, 128), nn.ReLU(inplace=True)]
        second = [nn.Dropout(share), nn.Linear(128, 128), nn.ReLU(inplace=True)]
        return nn.Sequential(*convolutions, pool, nn.Flatten(), *first, *second, nn.Linear(128, classes))

    return build


def branched(branches: bool) -> Build:
    """Two inception modules behind a strided convolution; or a 3 × 3 convolution in the place of each."""

    def build(channels: int, classes: int) -> nn.Module:
        stem = convolution_norm(channels, 16, 5, stride=2)
        if branches:
            wide = BRANCHES.total
            modules: list[nn.Module] = [
                Inception(16, BRANCHES, convolution_norm),
                nn.MaxPool2d(2),
                Inception(wide, BRANCHES, convolution_norm),
            ]
        else:
            first, wide = ONE_BRANCH
            modules = [convolution_norm(16, first, 3), nn.MaxPool2d(2), convolution_norm(first, wide, 3)]
        return nn.Sequential(stem, *modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, classes))

    return build


def residual(depth: int, *, shortcuts: bool, squeeze: bool = False) -> Build:
    """He et al. 2015, section 4.2, at half the size and a half of its widths: `6 n + 2` layers in three stages.

    Args:
        depth: 20, 32, 56, …
        shortcuts: without them it is the plain network.
        squeeze: a squeeze-and-excitation at the end of each residual function.
    """

    def build(channels: int, classes: int) -> nn.Module:
        layers: list[nn.Module] = [convolution_norm(channels, 8, 3, stride=2)]
        before = 8
        for number, width in enumerate((8, 16, 32)):
            for i in range((depth - 2) // 6):
                stride = 2 if number and i == 0 else 1
                inner = [*basic(before, width, stride=stride)]
                inner += [SqueezeExcitation(width, reduction=4)] if squeeze else []
                layers.append(_joined(inner, before, width, stride, shortcuts=shortcuts))
                before = width
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))

    return build


def separable(separate: bool) -> Build:
    """Three convolutions; separable ones are wider, so that there are as many parameters."""

    def build(channels: int, classes: int) -> nn.Module:
        def block(before: int, width: int) -> nn.Module:
            last = width == (SEPARABLE if separate else FULL)[-1]
            if separate and before != channels:
                one: nn.Module = nn.Sequential(
                    DepthwiseSeparable(before, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
                )
            else:
                one = convolution_norm(before, width, 3)
            return one if last else nn.Sequential(one, nn.MaxPool2d(2))

        return tower(channels, SEPARABLE if separate else FULL, classes, block)

    return build


def _joined(inner: list[nn.Module], before: int, width: int, stride: int, *, shortcuts: bool) -> nn.Module:
    if not shortcuts:
        return nn.Sequential(*inner, nn.ReLU(inplace=True))
    same = stride == 1 and before == width
    projection = None if same else convolution_norm(before, width, 1, stride=stride, relu=False)
    return Residual(nn.Sequential(*inner), projection)


NETWORKS: dict[str, Build] = {
    "tanh": squashed(nn.Tanh),
    "ReLU": squashed(lambda: nn.ReLU(inplace=True)),
    "no dropout": dropping(0.0),
    "dropout": dropping(0.5),
    "one branch": branched(False),
    "inception": branched(True),
    "full": separable(False),
    "separable": separable(True),
    "squeezed-20": residual(20, shortcuts=True, squeeze=True),
    **{f"plain-{d}": residual(d, shortcuts=False) for d in (20, 32, 56)},
    **{f"residual-{d}": residual(d, shortcuts=True) for d in (20, 32, 56)},
}
