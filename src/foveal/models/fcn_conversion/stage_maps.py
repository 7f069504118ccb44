"""A linear head on the pooled stages of a backbone, as maps.

A head that takes every stage in 2 × 2 cells (see `backbone_stages.pool_stages`) is a sum of linear functions, one
for each map. On a larger image each of them slides over its own map, as far at a time as an output of the whole
moves.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from foveal.models.backbone_stages import BackboneStages
from foveal.models.fcn_conversion.geometry import geometry_of
from foveal.models.fcn_conversion.heads import Untranslatable, rewrite_head
from foveal.models.fcn_conversion.layers import convolution_of, fold_pooling
from foveal.models.linear_probe import LinearProbe
from foveal.values import STAGE_GRID


def translate_stages(classifier: LinearProbe, images: Tensor) -> nn.Module:
    """A head on all stages, as maps of logits `(N, K, h, w)`.

    Args:
        classifier: whose head takes the stages.
        images: normalised, of the training size.

    Raises:
        Untranslatable: when the stride of a stage does not divide the last one's.
    """
    assert classifier.stages is not None
    return _StageMaps(classifier.stages, classifier.head, classifier.dimension, images).eval()


class _StageMaps(nn.Module):
    def __init__(self, stages: BackboneStages, head: nn.Linear, dimension: int, images: Tensor) -> None:
        super().__init__()
        *body, last = stages.parts
        self.parts = nn.ModuleList(body)
        maps = []
        x = images
        for part in body:
            x = part(x)
            maps.append(x)
        self.last = rewrite_head(last, x)
        self.whole = convolution_of(head.weight[:, :dimension, None, None], head.bias)
        strides = _strides(self.parts, *images.shape[1:3])
        begin, sliding = dimension, []
        for stage, stride in zip(maps[1:], strides[1:], strict=True):
            channels, grid = stage.shape[1], STAGE_GRID
            kernel = head.weight[:, begin : begin + channels * grid**2].reshape(-1, channels, grid, grid)
            begin += channels * grid**2
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
    """Pixels between neighbouring cells of the map after each part."""
    return [geometry_of(nn.Sequential(*list(parts)[: i + 1]), channels, size).stride[0] for i in range(len(parts))]


def _sliding(kernel: Tensor, side: int, step: int) -> nn.Module:
    """A linear function of a map of `side` cells pooled to 2 × 2, every `step` cells of a larger map.

    Where the halves do not overlap the mean is taken once for all outputs, and the kernel reaches across it.
    """
    half, rest = divmod(side, STAGE_GRID)
    if rest:
        convolution = convolution_of(fold_pooling(kernel, (side, side), (STAGE_GRID, STAGE_GRID)), None)
        convolution.stride = (step, step)
        return convolution
    shared = math.gcd(half, step)
    convolution = convolution_of(kernel, None)
    convolution.dilation, convolution.stride = (half // shared,) * 2, (step // shared,) * 2
    return nn.Sequential(nn.AvgPool2d(half, stride=shared), convolution)
