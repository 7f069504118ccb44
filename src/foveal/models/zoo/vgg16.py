"""VGG-16, configuration D of Simonyan and Zisserman, "Very deep convolutional networks" (2014)."""

from __future__ import annotations

from torch import nn

from foveal.models.zoo.blocks import convolution_relu
from foveal.models.zoo.network import Network

#: Convolutions of each stage: how many, how wide.
STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


class VGG16(Network):
    """3 × 3 convolutions only, in five stages that each end in a pooling; for 224 × 224 pixels."""

    def __init__(self, *, classes: int = 1000, channels: int = 3) -> None:
        trunk: dict[str, nn.Module] = {}
        features, before = {}, channels
        for number, (count, width) in enumerate(STAGES, 1):
            layers = [convolution_relu(before if i == 0 else width, width, 3) for i in range(count)]
            trunk[f"stage{number}"] = nn.Sequential(*layers)
            trunk[f"pool{number}"] = nn.MaxPool2d(2)
            features[f"stage{number}"] = (width, 2 ** (number - 1))
            before = width
        features["pool5"] = (before, 32)
        head = {
            "pool": nn.AdaptiveAvgPool2d(7),  # does nothing at 224; makes any other image fit
            "flatten": nn.Flatten(),
            "fc6": nn.Sequential(nn.Linear(before * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5)),
            "fc7": nn.Sequential(nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5)),
            "fc8": nn.Linear(4096, classes),
        }
        super().__init__(trunk, head, features=features, channels=channels, smallest=32)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
