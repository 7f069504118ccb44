"""AlexNet, true to Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep CNNs" (2012)."""

from __future__ import annotations

from torch import nn

from foveal.models.zoo.blocks import LocalResponseNorm, convolution_relu, overlapping_pool
from foveal.models.zoo.network import Network


class AlexNet(Network):
    """Two towers, which met where two GPUs exchanged their maps: groups in conv2, conv4 and conv5.

    Written for 227 × 227 pixels: the paper says 224, but 55 places at stride 4 with a kernel of 11 and no padding
    need (55 - 1) · 4 + 11 = 227.
    """

    def __init__(self, *, classes: int = 1000, channels: int = 3) -> None:
        trunk = {
            "conv1": nn.Sequential(nn.Conv2d(channels, 96, 11, stride=4), nn.ReLU(inplace=True)),
            "norm1": LocalResponseNorm(),
            "pool1": overlapping_pool(),
            "conv2": convolution_relu(96, 256, 5, groups=2),
            "norm2": LocalResponseNorm(),
            "pool2": overlapping_pool(),
            "conv3": convolution_relu(256, 384, 3),
            "conv4": convolution_relu(384, 384, 3, groups=2),
            "conv5": convolution_relu(384, 256, 3, groups=2),
            "pool5": overlapping_pool(),
        }
        features = {"norm1": (96, 4), "norm2": (256, 8), "conv5": (256, 16), "pool5": (256, 32)}
        head = dense_head(256 * 6 * 6, classes)
        super().__init__(trunk, head, features=features, channels=channels, smallest=67)
        self._initialise()

    def _initialise(self) -> None:
        """Section 5: N(0, 0.01²); biases 1 in conv2, conv4, conv5 and the hidden dense layers, elsewhere 0."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                assert module.bias is not None
                started = any(part in name for part in ("conv2", "conv4", "conv5", "fc6", "fc7"))
                nn.init.constant_(module.bias, 1.0 if started else 0.0)


def dense_head(flat: int, classes: int) -> dict[str, nn.Module]:
    """A 6 × 6 map through two dense layers of 4096 with dropout before each (section 4.2), and the classifier."""
    return {
        "pool": nn.AdaptiveAvgPool2d(6),  # does nothing at the published size; makes any other image fit
        "flatten": nn.Flatten(),
        "drop6": nn.Dropout(0.5),
        "fc6": nn.Sequential(nn.Linear(flat, 4096), nn.ReLU(inplace=True)),
        "drop7": nn.Dropout(0.5),
        "fc7": nn.Sequential(nn.Linear(4096, 4096), nn.ReLU(inplace=True)),
        "fc8": nn.Linear(4096, classes),
    }
