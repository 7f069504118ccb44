"""A linear head on a frozen trunk as one module, and as maps: what a run's bundle is, in torch.

A head that looks at every stage in 2 × 2 places (see `segments.pooled`) is a sum of linear functions, one for each
map; on a larger picture each of them slides over its own map, as far at a time as an answer of the whole moves.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from foveal.models.heads import Untranslatable, rewritten
from foveal.models.segments import PLACES, Segments, features_of, pooled, segmented
from foveal.models.sliding import convolution_of, folded
from foveal.models.space import look_at


class Frozen(nn.Module):
    """Normalised pictures `(N, 3, H, W)` to logits `(N, K)`.

    Args:
        network: timm's, with its weights.
        weight, bias: of the head, `(K, D)` and `(K,)`; D is the network's features, or those and its stages.
        dimension: of the network's features.

    Raises:
        ValueError: when the head looks at stages, and the network's are not known.
    """

    def __init__(self, network: nn.Module, weight: Tensor, bias: Tensor, dimension: int) -> None:
        super().__init__()
        self.network, self.dimension = network, dimension
        self.head = nn.Linear(weight.shape[1], weight.shape[0])
        self.head.load_state_dict({"weight": weight, "bias": bias})
        self.segments = segmented(network) if weight.shape[1] > dimension else None
        if weight.shape[1] > dimension and self.segments is None:
            raise ValueError(f"the stages of a {type(network).__name__} are not known")

    def forward(self, x: Tensor) -> Tensor:
        """All of it."""
        seen = features_of(self.network, x) if self.segments is None else pooled(self.segments.maps(x))
        logits: Tensor = self.head(seen)
        return logits


def translate_stages(classifier: Frozen, pictures: Tensor) -> nn.Module:
    """A head on all stages, as maps of logits `(N, K, h, w)`.

    Args:
        classifier: whose head looks at stages.
        pictures: of the training size.

    Raises:
        Untranslatable: when the strides of its stages don't divide the last one's.
    """
    segments = classifier.segments
    assert segments is not None
    return _StageMaps(segments, classifier.head, classifier.dimension, pictures).eval()


class _StageMaps(nn.Module):
    def __init__(self, segments: Segments, head: nn.Linear, dimension: int, pictures: Tensor) -> None:
        super().__init__()
        *body, last = segments.parts
        self.parts = nn.ModuleList(body)
        maps = []
        x = pictures
        for part in body:
            x = part(x)
            maps.append(x)
        self.last = rewritten(last, x)
        self.whole = convolution_of(head.weight[:, :dimension, None, None], head.bias)
        strides = _strides(self.parts, *pictures.shape[1:3])
        begin, sliding = dimension, []
        for stage, stride in zip(maps[1:], strides[1:], strict=True):
            c, places = stage.shape[1], PLACES
            kernel = head.weight[:, begin : begin + c * places**2].reshape(-1, c, places, places)
            begin += c * places**2
            if strides[-1] % stride:
                raise Untranslatable(f"a stage of stride {stride} before a last one of stride {strides[-1]}")
            sliding.append(_sliding(kernel, int(stage.shape[2]), strides[-1] // stride))
        self.sliding = nn.ModuleList(sliding)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, K, h, w)`."""
        maps = []
        for part in self.parts:
            x = part(x)
            maps.append(x)
        logits: Tensor = self.whole(self.last(x))
        height, width = logits.shape[2:]
        for slide, stage in zip(self.sliding, maps[1:], strict=True):
            logits = logits + slide(stage)[:, :, :height, :width]
        return logits


def _strides(parts: nn.ModuleList, channels: int, size: int) -> list[int]:
    """Pixels between two places of the map after each part."""
    return [look_at(nn.Sequential(*list(parts)[: i + 1]), channels, size).stride[0] for i in range(len(parts))]


def _sliding(kernel: Tensor, side: int, step: int) -> nn.Module:
    """A linear function of a map of `side` places pooled to 2 × 2, every `step` places of a larger map.

    Where the halves do not overlap the mean is taken once for all answers, and the kernel reaches across it.
    """
    half, rest = divmod(side, PLACES)
    if rest:
        convolution = convolution_of(folded(kernel, (side, side), (PLACES, PLACES)), None)
        convolution.stride = (step, step)
        return convolution
    shared = math.gcd(half, step)
    convolution = convolution_of(kernel, None)
    convolution.dilation, convolution.stride = (half // shared,) * 2, (step // shared,) * 2
    return nn.Sequential(nn.AvgPool2d(half, stride=shared), convolution)


def frozen(network: Any, head: tuple[Any, Any], dimension: int) -> Frozen:  # noqa: ANN401
    """`Frozen` from a head's arrays, ready to answer."""
    weight, bias = (torch.from_numpy(array.copy()).float() for array in head)
    return Frozen(network, weight, bias, dimension).eval()
