"""A pretrained network for fine-tuning: its segments, batch normalisation folded away, and a linear head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foveal.models.backbone_stages import BackboneStages, features_of, split_into_stages
from foveal.models.backbones import load_network, untrained_network
from foveal.models.batch_norm_folding import fold_batch_norm
from foveal.values import Backbone


class FineTunedNetwork(nn.Module):
    """Normalised images `(N, 3, H, W)` to logits `(N, classes)`.

    Args:
        network: follows timm's contract, with its weights or fresh; batch normalisation is folded away, in place.
        dimension: of its pooled features.
        classes: outputs.
    """

    def __init__(self, network: nn.Module, dimension: int, classes: int) -> None:
        super().__init__()
        fold_batch_norm(network)
        self.segments = split_into_stages(network) or BackboneStages([_Whole(network)])
        self.head = nn.Linear(dimension, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Features, and the head on them."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, dimension)`."""
        features: Tensor = self.segments(x)
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        """`(N, dimension)` to logits `(N, classes)`."""
        logits: Tensor = self.head(features)
        return logits

    def lower(self, x: Tensor, cut: int) -> Tensor:
        """The first `cut` segments."""
        return self.segments.between(x, 0, cut)

    def upper(self, x: Tensor, cut: int) -> Tensor:
        """The segments from `cut` on, with the head."""
        return self.forward_head(self.segments.between(x, cut, len(self.segments.parts)))


class _Whole(nn.Module):
    """A network of no known family, as one segment."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return features_of(self.network, x)


def pretrained(backbone: Backbone, classes: int) -> FineTunedNetwork:
    """A backbone with its weights and a head of zeros."""
    module = FineTunedNetwork(load_network(backbone), backbone.dimension, classes)
    with torch.no_grad():
        module.head.weight.zero_()
        module.head.bias.zero_()
    return module.eval()


def untrained(backbone: str, dimension: int, classes: int) -> FineTunedNetwork:
    """The same with weights yet to be loaded, from the names in a bundle.

    Raises:
        UnknownName: when no source has the backbone.
    """
    return FineTunedNetwork(untrained_network(backbone), dimension, classes)
