"""LeNet-5 as it is written today: full connections, maximum pooling, ReLU, a linear output."""

from __future__ import annotations

from torch import nn

from foveal.models.zoo.network import Network


class LeNet5Modern(Network):
    """For 32 × 32 pixels; 61,706 parameters for ten classes and one channel."""

    def __init__(self, *, classes: int = 10, channels: int = 1) -> None:
        trunk = {
            "c1": nn.Sequential(nn.Conv2d(channels, 6, 5), nn.ReLU(inplace=True)),
            "s2": nn.MaxPool2d(2),
            "c3": nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(inplace=True)),
            "s4": nn.MaxPool2d(2),
        }
        head = {
            "pool": nn.AdaptiveAvgPool2d(5),
            "flatten": nn.Flatten(),
            "c5": nn.Sequential(nn.Linear(16 * 5 * 5, 120), nn.ReLU(inplace=True)),
            "f6": nn.Sequential(nn.Linear(120, 84), nn.ReLU(inplace=True)),
            "output": nn.Linear(84, classes),
        }
        features = {"c1": (6, 1), "c3": (16, 2), "s4": (16, 4)}
        super().__init__(trunk, head, features=features, channels=channels, smallest=16)
