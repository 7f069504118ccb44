"""SENet-154: Hu, Shen and Sun, "Squeeze-and-excitation networks" (2017), which won ILSVRC 2017."""

from __future__ import annotations

from torch import nn

from foveal.models.zoo.blocks import Residual, SqueezeExcitation, convolution_norm, overlapping_pool
from foveal.models.zoo.network import Network, pooled_head

STAGES = (3, 8, 36, 3)


class SENet154(Network):
    """A ResNet-152 of grouped bottlenecks with what the paper's appendix lists; for 224 × 224 pixels.

    Three 3 × 3 convolutions instead of the 7 × 7; the first 1 × 1 of a bottleneck half as wide as its 3 × 3, which
    has 64 groups; 3 × 3 instead of 1 × 1 in shortcuts that shrink; dropout before the classifier.
    """

    def __init__(self, *, classes: int = 1000, channels: int = 3) -> None:
        trunk: dict[str, nn.Module] = {
            "stem": nn.Sequential(
                convolution_norm(channels, 64, 3, stride=2),
                convolution_norm(64, 64, 3),
                convolution_norm(64, 128, 3),
            ),
            "pool": overlapping_pool(ceil_mode=True),
        }
        features, before = {"stem": (128, 2)}, 128
        for number, count in enumerate(STAGES):
            width = 64 * 2**number
            blocks = []
            for i in range(count):
                blocks.append(_block(before, width, stride=2 if number and i == 0 else 1))
                before = 4 * width
            trunk[f"stage{number + 1}"] = nn.Sequential(*blocks)
            features[f"stage{number + 1}"] = (before, 4 * 2**number)
        head = pooled_head(before, classes, dropout=0.2)
        super().__init__(trunk, head, features=features, channels=channels, smallest=32)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _block(before: int, width: int, *, stride: int) -> Residual:
    after = 4 * width
    inner = nn.Sequential(
        convolution_norm(before, 2 * width, 1),
        convolution_norm(2 * width, after, 3, stride=stride, groups=64),
        convolution_norm(after, after, 1, relu=False),
        SqueezeExcitation(after),
    )
    if stride == 1 and before == after:
        return Residual(inner, None)
    return Residual(inner, convolution_norm(before, after, 1 if stride == 1 else 3, stride=stride, relu=False))
