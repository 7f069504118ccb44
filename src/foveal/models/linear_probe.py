"""A linear head on a frozen backbone as one module in torch: what the bundle of a frozen run is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.models.backbone_stages import features_of, pool_stages, split_into_stages


class LinearProbe(nn.Module):
    """Normalised images `(N, 3, H, W)` to logits `(N, K)`.

    Args:
        network: follows timm's contract, with its weights.
        weight, bias: of the head, `(K, D)` and `(K,)`; D is the network's features, or those and its stages.
        dimension: of the network's features.

    Raises:
        ValueError: when the head takes the stages, and the network belongs to no known family.
    """

    def __init__(self, network: nn.Module, weight: Tensor, bias: Tensor, dimension: int) -> None:
        super().__init__()
        self.network, self.dimension = network, dimension
        self.head = nn.Linear(weight.shape[1], weight.shape[0])
        self.head.load_state_dict({"weight": weight, "bias": bias})
        self.stages = split_into_stages(network) if weight.shape[1] > dimension else None
        if weight.shape[1] > dimension and self.stages is None:
            raise ValueError(f"{type(network).__name__} belongs to no known backbone family")

    def forward(self, x: Tensor) -> Tensor:
        """Features, and the head on them."""
        features = features_of(self.network, x) if self.stages is None else pool_stages(self.stages.maps(x))
        logits: Tensor = self.head(features)
        return logits


def linear_probe(network: nn.Module, weight: NDArray[Any], bias: NDArray[Any], dimension: int) -> LinearProbe:
    """`LinearProbe` from a head's arrays, in evaluation mode."""
    head = torch.from_numpy(np.array(weight)).float(), torch.from_numpy(np.array(bias)).float()
    return LinearProbe(network, *head, dimension).eval()
