"""Xception: Chollet, "Xception: deep learning with depthwise separable convolutions" (2016)."""

from __future__ import annotations

from torch import Tensor, nn

from foveal.models.zoo.blocks import DepthwiseSeparable, convolution_norm
from foveal.models.zoo.network import Network, pooled_head


class XceptionBlock(nn.Module):
    """Separable convolutions, each after a ReLU, beside a linear shortcut (the paper's figure 5).

    Args:
        channels: in.
        widths: of the convolutions.
        shrink: whether maxima of 3 × 3 places, every second one, follow.
        starts_with_relu: false where a ReLU stands before the block already.
    """

    def __init__(
        self, channels: int, widths: tuple[int, ...], *, shrink: bool = False, starts_with_relu: bool = True
    ) -> None:
        super().__init__()
        projection = convolution_norm(channels, widths[-1], 1, stride=2, relu=False) if shrink else nn.Identity()
        self.shortcut = projection
        layers: list[nn.Module] = []
        for before, width in zip((channels, *widths), widths, strict=False):
            # Not in place where the shortcut reads the same tensor.
            layers += [nn.ReLU(inplace=bool(layers)), DepthwiseSeparable(before, width), nn.BatchNorm2d(width)]
        if shrink:
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        self.inner = nn.Sequential(*layers[0 if starts_with_relu else 1 :])

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, widths[-1], H', W')`."""
        result: Tensor = self.inner(x) + self.shortcut(x)
        return result


class Xception(Network):
    """Entry, middle and exit flow; for 299 × 299 pixels."""

    def __init__(self, *, classes: int = 1000, channels: int = 3) -> None:
        trunk: dict[str, nn.Module] = {
            "conv1": nn.Sequential(*convolution_norm(channels, 32, 3, stride=2, padding=0)),
            "conv2": nn.Sequential(*convolution_norm(32, 64, 3, padding=0)),
            "block1": XceptionBlock(64, (128, 128), shrink=True, starts_with_relu=False),
            "block2": XceptionBlock(128, (256, 256), shrink=True),
            "block3": XceptionBlock(256, (728, 728), shrink=True),
            **{f"block{i}": XceptionBlock(728, (728, 728, 728)) for i in range(4, 12)},
            "block12": XceptionBlock(728, (728, 1024), shrink=True),
            "conv3": _separable(1024, 1536),
            "conv4": _separable(1536, 2048),
        }
        features = {
            "conv2": (64, 2),
            "block1": (128, 4),
            "block2": (256, 8),
            "block11": (728, 16),
            "conv4": (2048, 32),
        }
        super().__init__(trunk, pooled_head(2048, classes), features=features, channels=channels, smallest=32)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _separable(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(DepthwiseSeparable(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
