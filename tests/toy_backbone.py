"""A backbone that is not the package's: a family, a source of its weights, and how to take both out again."""

from contextlib import contextmanager
from functools import cache

import torch
from torch import nn

from foveal.models.families import FAMILIES, BackboneFamily, NetworkParts, register_family
from foveal.models.sources import SOURCES, register_source
from foveal.values import Backbone, Preprocess

NAME = "toy"


class ToyNet(nn.Module):
    """Follows timm's contract, and has none of timm's attribute names."""

    num_features = 24

    def __init__(self, classes=7):
        super().__init__()
        self.entry = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in ((8, 12), (12, 16), (16, 24))
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.exit = nn.Linear(24, classes)

    def forward_features(self, x):
        x = self.entry(x)
        for level in self.levels:
            x = level(x)
        return x

    def forward_head(self, x, pre_logits=False):
        x = self.pool(x)
        return x if pre_logits else self.exit(x)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


FAMILY = BackboneFamily(
    "toy",
    lambda network: isinstance(network, ToyNet),
    lambda network: NetworkParts((network.entry,), tuple(network.levels), (), network.pool),
)


class ToySource:
    """Weights are drawn from a fixed seed."""

    def names(self):
        return [NAME]

    def available(self):
        return [NAME]

    def has(self, name):
        return name == NAME

    def find(self, name):
        return _backbone()

    def architecture(self, name, *, classes=None):
        return ToyNet(classes or 7).eval()

    def load(self, backbone):
        return self._network()

    def _network(self):
        return _network()


def _network():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return ToyNet().eval()


@cache
def _backbone():
    """Measured once, as a source that ships its figures would have them."""
    from foveal.models.backbone_stages import measure_segments

    network = _network()
    preprocess = Preprocess(size=32, mean=(127.0,) * 3, std=(64.0,) * 3)
    return Backbone(NAME, network.num_features, preprocess, "70" * 32, None, None, measure_segments(network))


@contextmanager
def toy_backbone():
    """Registered for the length of a `with`."""
    families, sources = list(FAMILIES), list(SOURCES)
    register_family(FAMILY)
    register_source(ToySource())
    try:
        yield
    finally:
        FAMILIES[:], SOURCES[:] = families, sources
