"""What a strategy returns: a model as numbers and names, which is all that a bundle contains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.models.linear_head import LinearHead
from foveal.values import Backbone, Preprocess, View

Array = NDArray[np.float32]


@dataclass(frozen=True)
class TrainedModel:
    """A linear head on a frozen backbone, or a network of its own.

    Attributes:
        tensors: the weights by name; a head's are `head.weight` `(K, D)` and `head.bias` `(K,)`.
        preprocess: what it expects of an image.
        backbone: the frozen backbone below the head; None for a network.
        network: arguments of `models.networks.build`; None for a head.
        views: views of each image whose predictions are averaged.
    """

    tensors: Mapping[str, NDArray[Any]]
    preprocess: Preprocess
    backbone: Backbone | None = None
    network: Mapping[str, Any] | None = None
    views: tuple[View, ...] = ("plain",)

    @classmethod
    def of_head(
        cls, head: LinearHead, preprocess: Preprocess, backbone: Backbone, views: tuple[View, ...]
    ) -> TrainedModel:
        """A head on a backbone's features."""
        tensors = {"head.weight": np.ascontiguousarray(head.weight), "head.bias": np.ascontiguousarray(head.bias)}
        return cls(tensors, preprocess, backbone, None, views)

    @property
    def pretrained(self) -> bool:
        """Whether it began from pretrained weights."""
        return self.backbone is not None or (self.network or {}).get("backbone") is not None

    @property
    def parameters(self) -> int:
        """How many parameters were trained; running means, counters and positions are not among them."""
        return sum(
            v.size
            for k, v in self.tensors.items()
            if np.issubdtype(v.dtype, np.floating) and not k.endswith(("running_mean", "running_var"))
        )

    def describe(self) -> dict[str, Any]:
        """As `summary.json` shows it."""
        height, width = self.preprocess.box
        name = self.backbone.name if self.backbone else _name_of(self.network or {})
        return {
            "name": name,
            "backbone": self.backbone.name if self.backbone else None,
            "backbone_sha256": self.backbone.weights_sha256 if self.backbone else None,
            "network": dict(self.network) if self.network else None,
            "input": [self.preprocess.channels, height, width],
            "views": list(self.views),
            "parameters": self.parameters,
        }


def _name_of(network: Mapping[str, Any]) -> str:
    """A tuned backbone's name, or that of an architecture that was trained from scratch."""
    name = network.get("backbone") or network.get("name")
    return str(name or ("sketch" if network.get("architecture") == "sketch" else "network"))
