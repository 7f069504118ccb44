"""AlexNet in one tower: Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014).

As torchvision has it: 64 filters in the first layer, no local response normalisation, no groups.
"""

from __future__ import annotations

from torch import nn

from foveal.models.zoo.alexnet import dense_head
from foveal.models.zoo.blocks import convolution_relu, overlapping_pool
from foveal.models.zoo.network import Network


class AlexNetSingle(Network):
    """For 224 × 224 pixels."""

    def __init__(self, *, classes: int = 1000, channels: int = 3) -> None:
        first = nn.Conv2d(channels, 64, 11, stride=4, padding=2)
        trunk = {
            "conv1": nn.Sequential(first, nn.ReLU(inplace=True)),
            "pool1": overlapping_pool(),
            "conv2": convolution_relu(64, 192, 5),
            "pool2": overlapping_pool(),
            "conv3": convolution_relu(192, 384, 3),
            "conv4": convolution_relu(384, 256, 3),
            "conv5": convolution_relu(256, 256, 3),
            "pool5": overlapping_pool(),
        }
        features = {"conv1": (64, 4), "conv2": (192, 8), "conv5": (256, 16), "pool5": (256, 32)}
        head = dense_head(256 * 6 * 6, classes)
        super().__init__(trunk, head, features=features, channels=channels, smallest=63)
