"""What a source of backbones is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from foveal.values import Backbone

if TYPE_CHECKING:
    import torch


class BackboneSource(Protocol):
    """Pretrained networks by name. Networks follow timm's contract, see `foveal.models.families`.

    A source downloads nothing.
    """

    def names(self) -> Sequence[str]:
        """The names to suggest for a misspelt one."""
        ...

    def available(self) -> Sequence[str]:
        """The names of networks whose weights are on this machine, from the one expected to be best.

        Costs little: neither the weights nor torch are loaded.
        """
        ...

    def has(self, name: str) -> bool:
        """Whether a network of this name is known here, with weights on this machine or without."""
        ...

    def find(self, name: str) -> Backbone:
        """The backbone, its weights checked.

        Raises:
            WeightsUnavailable: when the weights are not on this machine, or not the expected ones.
        """
        ...

    def architecture(self, name: str, *, classes: int | None = None) -> torch.nn.Module:
        """The network with fresh weights, in evaluation mode.

        Args:
            name: of the network.
            classes: outputs of its classifier; None: as published.
        """
        ...

    def load(self, backbone: Backbone) -> torch.nn.Module:
        """The network with its pretrained weights, in evaluation mode."""
        ...
