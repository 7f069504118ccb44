"""What a backbone family is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class NetworkParts:
    """A network taken apart; the parts share its weights and, run in order, give its pooled features.

    Attributes:
        stem: the modules before the first stage, in order.
        stages: each gives a map `(N, C, H / stride, W / stride)`.
        neck: the modules between the last stage and the pooling, in order; often none.
        pool: maps to features `(N, dimension)`.
    """

    stem: tuple[nn.Module, ...]
    stages: tuple[nn.Module, ...]
    neck: tuple[nn.Module, ...]
    pool: nn.Module


@dataclass(frozen=True)
class BackboneFamily:
    """Networks of one construction.

    A network follows timm's contract: `forward_features(x)` gives maps, `forward_head(maps, pre_logits=True)`
    pooled features `(N, dimension)`, and `num_features` is the dimension.

    Attributes:
        name: for messages.
        recognises: whether a network is of this family.
        split: takes such a network apart.
    """

    name: str
    recognises: Callable[[nn.Module], bool]
    split: Callable[[Any], NetworkParts]
