"""The networks of the study `innovations`: small pairs, with and without the innovation of an architecture."""

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
from foveal.studies.experiments.support.layers import tower

#: Input channels and number of classes → a network.
Build = Callable[[int, int], nn.Module]

#: Widths of the towers; with separable convolutions they are wider, for an equal number of parameters.
FULL, SEPARABLE = (12, 24, 32), (20, 60, 108)
#: A row of GoogLeNet's table, scaled down, and the widths of 3 × 3 convolutions with as many multiplications.
BRANCHES, ONE_BRANCH = InceptionWidths(8, 8, 12, 2, 4, 4), (10, 18)


def with_activation(activation: Callable[[], nn.Module]) -> Build:
    """AlexNet's pattern without normalisation: three convolutions, each followed by this activation."""

    def build(channels: int, classes: int) -> nn.Module:
        def block(inputs: int, width: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), activation(), nn.MaxPool2d(2))

        return tower(channels, (12, 24, 32), classes, block)

    return build


def with_dropout(probability: float) -> Build:
    """Two convolutions and two dense layers of 128, dropout before each dense layer (Krizhevsky et al. 2012)."""

    def build(channels: int, classes: int) -> nn.Module:
        convolutions = [convolution_relu(channels, 12, 5, stride=2), nn.MaxPool2d(2), convolution_relu(12, 24, 3)]
        pool = nn.AdaptiveMaxPool2d(4)
        first = [nn.Dropout(probability), nn.Linear(24 * 16, 128), nn.ReLU(inplace=True)]
        second = [nn.Dropout(probability), nn.Linear(128, 128), nn.ReLU(inplace=True)]
        return nn.Sequential(*convolutions, pool, nn.Flatten(), *first, *second, nn.Linear(128, classes))

    return build


def with_branches(branches: bool) -> Build:
    """Two inception modules after a strided convolution, or a 3 × 3 convolution instead of each."""

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
    """He et al. 2015, section 4.2, at half the resolution and half the widths: `6 n + 2` layers in three stages.

    Args:
        depth: 20, 32, 56, …
        shortcuts: False gives the plain network.
        squeeze: adds squeeze-and-excitation at the end of each residual branch.
    """

    def build(channels: int, classes: int) -> nn.Module:
        layers: list[nn.Module] = [convolution_norm(channels, 8, 3, stride=2)]
        inputs = 8
        for number, width in enumerate((8, 16, 32)):
            for i in range((depth - 2) // 6):
                stride = 2 if number and i == 0 else 1
                branch = [*basic(inputs, width, stride=stride)]
                branch += [SqueezeExcitation(width, reduction=4)] if squeeze else []
                layers.append(_joined(branch, inputs, width, stride, shortcuts=shortcuts))
                inputs = width
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))

    return build


def with_separable(separate: bool) -> Build:
    """Three convolutions; separable ones are wider, for an equal number of parameters."""

    def build(channels: int, classes: int) -> nn.Module:
        def block(inputs: int, width: int) -> nn.Module:
            last = width == (SEPARABLE if separate else FULL)[-1]
            if separate and inputs != channels:
                convolution: nn.Module = nn.Sequential(
                    DepthwiseSeparable(inputs, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
                )
            else:
                convolution = convolution_norm(inputs, width, 3)
            return convolution if last else nn.Sequential(convolution, nn.MaxPool2d(2))

        return tower(channels, SEPARABLE if separate else FULL, classes, block)

    return build


def _joined(branch: list[nn.Module], inputs: int, width: int, stride: int, *, shortcuts: bool) -> nn.Module:
    if not shortcuts:
        return nn.Sequential(*branch, nn.ReLU(inplace=True))
    same = stride == 1 and inputs == width
    projection = None if same else convolution_norm(inputs, width, 1, stride=stride, relu=False)
    return Residual(nn.Sequential(*branch), projection)


NETWORKS: dict[str, Build] = {
    "tanh": with_activation(nn.Tanh),
    "ReLU": with_activation(lambda: nn.ReLU(inplace=True)),
    "no dropout": with_dropout(0.0),
    "dropout": with_dropout(0.5),
    "one branch": with_branches(False),
    "inception": with_branches(True),
    "full": with_separable(False),
    "separable": with_separable(True),
    "squeezed-20": residual(20, shortcuts=True, squeeze=True),
    **{f"plain-{d}": residual(d, shortcuts=False) for d in (20, 32, 56)},
    **{f"residual-{d}": residual(d, shortcuts=True) for d in (20, 32, 56)},
}
