"""A pretrained network as a row of segments: what is frozen, cached, pooled or trained is a run of them.

The first segment is the stem, the last one ends in the pooled features; those between are the network's stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

#: Each stage's map is pooled to this many places a side.
PLACES = 2


class Segments(nn.Module):
    """Normalised pictures `(N, 3, H, W)` to pooled features `(N, dimension)`.

    Args:
        parts: in order; the last gives `(N, dimension)`.
    """

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """All segments."""
        return self.between(x, 0, len(self.parts))

    def between(self, x: Tensor, first: int, last: int) -> Tensor:
        """Segments `first` to `last - 1`."""
        for part in list(self.parts)[first:last]:
            x = part(x)
        return x

    def maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """The features, and behind them the map `(N, C, H, W)` of every stage."""
        kept = []
        for part in list(self.parts)[:-1]:
            x = part(x)
            kept.append(x)
        return (self.parts[-1](x), *kept[1:])


def pooled(maps: tuple[Tensor, ...]) -> Tensor:
    """What `Segments.maps` gives as one row a picture: the features, and every stage in 2 × 2 places (Evci et
    al. 2022, "Head2Toe", pool every layer likewise)."""
    places = [functional.adaptive_avg_pool2d(m, PLACES).flatten(1) for m in maps[1:]]
    return torch.cat([maps[0], *places], dim=1)


def segmented(network: nn.Module) -> Segments | None:
    """A timm network in segments that share its weights; None when it is of a kind that is not known here.

    The segments are tried: they must give what the network gives.
    """
    parts = _parts(network)
    if parts is None:
        return None
    segments = Segments(parts).eval()
    example = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    try:
        with torch.no_grad():
            expected = features_of(network.eval(), example)
            same = torch.allclose(segments(example), expected, rtol=1e-4, atol=1e-5)
    except (RuntimeError, AssertionError):
        return None
    return segments if same else None


def features_of(network: Any, x: Tensor) -> Tensor:  # noqa: ANN401
    """Pooled features of a timm network."""
    features: Tensor = network.forward_head(network.forward_features(x), pre_logits=True)
    return features


def _parts(network: Any) -> list[nn.Module] | None:  # noqa: ANN401
    """EfficientNet and MobileNet by their names in timm, ResNet and its relations by theirs."""

    def has(*names: str) -> bool:
        return all(isinstance(getattr(network, n, None), nn.Module) for n in names)

    if has("conv_stem", "bn1", "blocks", "conv_head", "bn2", "global_pool"):
        stem = nn.Sequential(network.conv_stem, network.bn1)
        return [stem, *network.blocks, nn.Sequential(network.conv_head, network.bn2, network.global_pool)]
    if has("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4", "global_pool"):
        stem = nn.Sequential(network.conv1, network.bn1, network.act1, network.maxpool)
        *inner, last = network.layer1, network.layer2, network.layer3, network.layer4
        return [stem, *inner, last, network.global_pool]
    return None


def fold(network: nn.Module) -> int:
    """Merge every batch normalisation into the convolution before it, in place; the answers stay.

    With few pictures the statistics of a batch say little, and those of ImageNet, which evaluation mode keeps,
    scale the gradient of each channel by whatever they happen to be.

    Returns:
        How many were merged.
    """
    if not any(isinstance(m, nn.BatchNorm2d) for m in network.modules()):
        return 0
    found = list(_pairs(network.eval()))
    for conv, norm in found:
        convolution, normalisation = network.get_submodule(conv), network.get_submodule(norm)
        assert isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d)
        network.set_submodule(conv, fuse_conv_bn_eval(convolution, normalisation))
        # timm's BatchNormAct2d holds the activation, too.
        rest = [getattr(normalisation, n) for n in ("drop", "act") if hasattr(normalisation, n)]
        network.set_submodule(norm, nn.Sequential(*rest) if rest else nn.Identity())
    return len(found)


def _pairs(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of convolutions and of the normalisations that take their output, watched on one picture."""
    made: dict[int, tuple[str, Tensor]] = {}
    taken: list[tuple[str, str]] = []
    hooks = []

    def gives(name: str) -> Any:  # noqa: ANN401
        return lambda _m, _inputs, output: made.update({id(output): (name, output)})

    def takes(name: str) -> Any:  # noqa: ANN401
        def note(_m: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if id(inputs[0]) in made:
                taken.append((made[id(inputs[0])][0], name))

        return note

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(gives(name)))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(takes(name)))
    with torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    yield from taken


class Trunk(nn.Module):
    """A timm network without its classifier, for engines.

    Args:
        network: timm's.
        maps: whether to give the stages' maps behind the features, as a tuple.
        pool: whether to give them pooled, in one row with the features.

    Raises:
        ValueError: when the network's stages are wanted and not known.
    """

    def __init__(self, network: nn.Module, *, maps: bool = False, pool: bool = False) -> None:
        super().__init__()
        self.network = network
        self._pool = pool
        self._segments = segmented(network) if maps or pool else None
        if (maps or pool) and self._segments is None:
            raise ValueError(f"the stages of a {type(network).__name__} are not known")

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Features `(N, dimension)`, alone or with the stages."""
        if self._segments is None:
            return features_of(self.network, pixels)
        maps = self._segments.maps(pixels)
        return pooled(maps) if self._pool else maps


def stage_numbers(network: nn.Module) -> tuple[int, int]:
    """How many numbers `pooled` adds to the features, and of how many stages; zeros when these are not known."""
    segments = segmented(network)
    if segments is None:
        return 0, 0
    with torch.no_grad():
        maps = segments.maps(torch.zeros(1, 3, 64, 64))[1:]
    return PLACES**2 * sum(m.shape[1] for m in maps), len(maps)
