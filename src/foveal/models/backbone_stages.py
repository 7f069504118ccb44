"""A pretrained network as a row of segments: what is frozen, cached, pooled or trained is a run of them.

The first segment is the stem, the last one ends in the pooled features; those between are the network's stages.
How a network splits is up to its family, see `foveal.models.families`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from foveal.models.families import NetworkParts, family_of
from foveal.values import SEGMENT_SIDE, STAGE_GRID, Segment


class BackboneStages(nn.Module):
    """Normalised images `(N, 3, H, W)` to pooled features `(N, dimension)`.

    Args:
        parts: in order; the last gives `(N, dimension)`.
    """

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    @classmethod
    def of(cls, parts: NetworkParts) -> BackboneStages:
        """Stem, stages and head as one segment each."""
        stem = nn.Sequential(*parts.stem)
        head = nn.Sequential(*parts.neck, parts.pool) if parts.neck else parts.pool
        return cls([stem, *parts.stages, head])

    def forward(self, x: Tensor) -> Tensor:
        """All segments."""
        return self.between(x, 0, len(self.parts))

    def between(self, x: Tensor, first: int, last: int) -> Tensor:
        """Segments `first` to `last - 1`."""
        for part in list(self.parts)[first:last]:
            x = part(x)
        return x

    def maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """The features, followed by the map `(N, C, H, W)` of every stage."""
        outputs = []
        for part in list(self.parts)[:-1]:
            x = part(x)
            outputs.append(x)
        return (self.parts[-1](x), *outputs[1:])

    def measure(self) -> tuple[Segment, ...]:
        """Channels, stride and cost of every segment, on one image; nothing stays of it."""
        measured = []
        x = torch.zeros(1, 3, SEGMENT_SIDE, SEGMENT_SIDE)
        with torch.no_grad():
            for part in self.parts:
                with FlopCounterMode(display=False) as counter:
                    x = part(x)
                stride = SEGMENT_SIDE // x.shape[2] if x.ndim == 4 else 0
                measured.append(Segment(int(x.shape[1]), stride, counter.get_total_flops() // 2))
        return tuple(measured)


def pool_stages(maps: tuple[Tensor, ...]) -> Tensor:
    """One row per image out of `BackboneStages.maps`: the features, then every stage pooled to 2 × 2.

    Evci et al. 2022, "Head2Toe", pool every layer likewise.
    """
    cells = [functional.adaptive_avg_pool2d(m, STAGE_GRID).flatten(1) for m in maps[1:]]
    return torch.cat([maps[0], *cells], dim=1)


def split_network(network: nn.Module) -> NetworkParts | None:
    """A network taken apart by its family; None when it has no known family, or the parts give something else."""
    family = family_of(network)
    if family is None:
        return None
    parts = family.split(network)
    stages = BackboneStages.of(parts).eval()
    example = torch.linspace(-1, 1, 3 * SEGMENT_SIDE**2).view(1, 3, SEGMENT_SIDE, SEGMENT_SIDE)
    try:
        with torch.no_grad():
            expected = features_of(network.eval(), example)
            same = torch.allclose(stages(example), expected, rtol=1e-4, atol=1e-5)
    except (RuntimeError, AssertionError):
        return None
    return parts if same else None


def split_into_stages(network: nn.Module) -> BackboneStages | None:
    """A network in segments that share its weights; None when it can't be split, see `split_network`."""
    parts = split_network(network)
    return None if parts is None else BackboneStages.of(parts).eval()


def measure_segments(network: nn.Module) -> tuple[Segment, ...]:
    """Channels, stride and cost of the segments of a network; empty when it can't be split."""
    stages = split_into_stages(network)
    return () if stages is None else stages.measure()


def features_of(network: Any, x: Tensor) -> Tensor:  # noqa: ANN401
    """Pooled features `(N, dimension)` of a network that follows timm's contract."""
    features: Tensor = network.forward_head(network.forward_features(x), pre_logits=True)
    return features


class FeatureNetwork(nn.Module):
    """A network without its classifier, for engines.

    Args:
        network: follows timm's contract.
        maps: whether to give the stages' maps after the features, as a tuple.
        pool: whether to give them pooled, in one row with the features.

    Raises:
        ValueError: when the stages are wanted and the network can't be split.
    """

    def __init__(self, network: nn.Module, *, maps: bool = False, pool: bool = False) -> None:
        super().__init__()
        self.network = network
        self._pool = pool
        self._stages = split_into_stages(network) if maps or pool else None
        if (maps or pool) and self._stages is None:
            raise ValueError(f"{type(network).__name__} belongs to no known backbone family")

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Features `(N, dimension)`, alone or with the stages."""
        if self._stages is None:
            return features_of(self.network, pixels)
        maps = self._stages.maps(pixels)
        return pool_stages(maps) if self._pool else maps
