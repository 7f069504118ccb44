"""A pretrained network that goes on learning: its segments, folded, and a linear head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foveal.models.backbones import bare_network, load_network
from foveal.models.segments import Segments, features_of, fold, segmented
from foveal.values import Backbone


class Tuned(nn.Module):
    """Normalised pictures `(N, 3, H, W)` to logits `(N, classes)`.

    Args:
        network: timm's, with its weights or fresh; batch normalisation is folded away, in place.
        dimension: of its pooled features.
        classes: outputs.
    """

    def __init__(self, network: nn.Module, dimension: int, classes: int) -> None:
        super().__init__()
        fold(network)
        self.segments = segmented(network) or Segments([_Whole(network)])
        self.head = nn.Linear(dimension, classes)

    def forward(self, x: Tensor) -> Tensor:
        """All of it."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """`(N, dimension)`."""
        features: Tensor = self.segments(x)
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        """`(N, dimension)` to logits."""
        logits: Tensor = self.head(features)
        return logits

    def lower(self, x: Tensor, cut: int) -> Tensor:
        """The first `cut` segments."""
        return self.segments.between(x, 0, cut)

    def upper(self, x: Tensor, cut: int) -> Tensor:
        """What comes after them, with the head."""
        return self.forward_head(self.segments.between(x, cut, len(self.segments.parts)))


class _Whole(nn.Module):
    """A network whose segments are not known, as one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return features_of(self.network, x)


def pretrained(backbone: Backbone, classes: int) -> Tuned:
    """A backbone with its weights and a head of zeros."""
    module = Tuned(load_network(backbone), backbone.dimension, classes)
    with torch.no_grad():
        module.head.weight.zero_()
        module.head.bias.zero_()
    return module.eval()


def bare(backbone: str, dimension: int, classes: int) -> Tuned:
    """The same with weights yet to be loaded, from the names in a bundle.

    Raises:
        UnknownName: when timm does not know the network.
    """
    return Tuned(bare_network(backbone), dimension, classes)
