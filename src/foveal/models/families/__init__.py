"""Backbone families: how a pretrained network splits into stem, stages and head.

A family is one file and one line in `FAMILIES`. Outside the package `register_family` adds one. Nothing else looks
at the attributes of a network.
"""

from __future__ import annotations

from torch import nn

from foveal.models.families.base import BackboneFamily, NetworkParts
from foveal.models.families.efficientnet import EFFICIENTNET
from foveal.models.families.resnet import RESNET

__all__ = ["FAMILIES", "BackboneFamily", "NetworkParts", "family_of", "register_family"]

FAMILIES: list[BackboneFamily] = [EFFICIENTNET, RESNET]


def register_family(family: BackboneFamily) -> None:
    """Add a family; it is asked before those that ship. One of the same name is replaced."""
    FAMILIES[:] = [family, *(known for known in FAMILIES if known.name != family.name)]


def family_of(network: nn.Module) -> BackboneFamily | None:
    """The first family that recognises a network; None when none does."""
    return next((family for family in FAMILIES if family.recognises(network)), None)
