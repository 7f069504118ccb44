"""Residual networks: He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2015).

With their shortcuts and without, and with squeeze-and-excitation (Hu, Shen and Sun 2017) on any of them.
"""

from __future__ import annotations

from torch import nn

from foveal.models.zoo.blocks import Residual, SqueezeExcitation, basic, bottleneck, convolution_norm
from foveal.models.zoo.network import Network, pooled_head

#: Depth → blocks of each stage (the paper's table 1).
STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class ResNet(Network):
    """For 224 × 224 pixels.

    Args:
        depth: 18, 34, 50, 101 or 152 layers with weights; from 50 on with bottlenecks.
        classes, channels: outputs, and channels of the input.
        shortcuts: without them it is the paper's plain network.
        squeeze: a squeeze-and-excitation at the end of each residual function.
    """

    def __init__(
        self,
        *,
        depth: int,
        classes: int = 1000,
        channels: int = 3,
        shortcuts: bool = True,
        squeeze: bool = False,
    ) -> None:
        narrow = depth < 50
        grown = 1 if narrow else 4
        trunk: dict[str, nn.Module] = {
            "stem": convolution_norm(channels, 64, 7, stride=2),
            "pool": nn.MaxPool2d(3, stride=2, padding=1),
        }
        features, before = {"stem": (64, 2)}, 64
        for number, count in enumerate(STAGES[depth]):
            width = 64 * 2**number
            blocks: list[nn.Module] = []
            for i in range(count):
                stride = 2 if number and i == 0 else 1
                layers = (basic if narrow else bottleneck)(before, width, stride=stride)
                blocks += _block(layers, before, grown * width, stride, shortcuts=shortcuts, squeeze=squeeze)
                before = grown * width
            trunk[f"stage{number + 1}"] = nn.Sequential(*blocks)
            features[f"stage{number + 1}"] = (before, 4 * 2**number)
        head = pooled_head(before, classes)
        super().__init__(trunk, head, features=features, channels=channels, smallest=32)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _block(
    layers: list[nn.Module], before: int, after: int, stride: int, *, shortcuts: bool, squeeze: bool
) -> list[nn.Module]:
    """A residual block; or the same layers in a row, where there are no shortcuts."""
    if squeeze:
        layers = [*layers, SqueezeExcitation(after)]
    if not shortcuts:
        return [*layers, nn.ReLU(inplace=True)]
    same = stride == 1 and before == after
    projection = None if same else convolution_norm(before, after, 1, stride=stride, relu=False)
    return [Residual(nn.Sequential(*layers), projection)]
