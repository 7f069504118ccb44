"""Pretrained backbones by name: `lite0`, which ships, timm's whose weights are here, and those registered.

Families say how a network splits (`families/`), sources where its weights come from (`sources/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveal.config import AUTO_BACKBONE
from foveal.models.sources import SOURCES, source_of
from foveal.values import Backbone

if TYPE_CHECKING:
    import torch

#: Ships with foveal, and is the cheapest.
DEFAULT = "lite0"


def find_backbone(name: str = DEFAULT) -> Backbone:
    """A backbone with its weights, checked.

    Args:
        name: `lite0`, the name of a timm model, or one that a registered source has; `auto`: the default.

    Raises:
        UnknownName: when no source has such a backbone.
        WeightsUnavailable: when its weights are not on this machine, or not the expected ones.
    """
    source, known = source_of(DEFAULT if name == AUTO_BACKBONE else name)
    return source.find(known)


def available_backbones() -> list[str]:
    """Names of the backbones whose weights are on this machine, from each source the one expected to be best first."""
    return [name for source in SOURCES for name in source.available()]


def untrained_network(name: str, *, classes: int | None = None) -> torch.nn.Module:
    """The network of a backbone with fresh weights, in evaluation mode.

    Args:
        name: see `find_backbone`.
        classes: outputs of its classifier; None: as published.

    Raises:
        UnknownName: when no source has such a backbone.
    """
    source, known = source_of(name)
    return source.architecture(known, classes=classes)


def load_network(backbone: Backbone) -> torch.nn.Module:
    """The network of a backbone with its pretrained weights, in evaluation mode."""
    return source_of(backbone.name)[0].load(backbone)


def load_feature_network(backbone: Backbone, *, maps: bool = False, pooled: bool = False) -> torch.nn.Module:
    """A backbone in torch: normalised images `(N, 3, H, W)` to pooled features `(N, dimension)`.

    Args:
        backbone: of a known family, for what follows.
        maps: the map of every stage, too, as a tuple after the features.
        pooled: every stage in 2 × 2 cells after the features: `(N, dimension + stage_dimension)`.
    """
    from foveal.models.backbone_stages import FeatureNetwork

    return FeatureNetwork(load_network(backbone), maps=maps, pool=pooled).eval()
