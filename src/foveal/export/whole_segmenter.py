"""A segmenter's bundle as one module in torch, from 8-bit images to masks of the same size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from foveal.data.images.render import fitted
from foveal.export.pixels import length, resizing, to_bytes
from foveal.export.timm_config import timm_config
from foveal.inference.bundle import Bundle, network_of


class WholeSegmenter(nn.Module):
    """What `inference.segmenter` computes in one pass, as one module.

    Args:
        bundle: a segmenter.

    Attributes:
        outputs: names of what `forward` gives.
        size: height and width of the images, where only those of one size are taken; None: any.
        pretrained_cfg: input and normalisation, by the names that timm uses.
    """

    mean: Tensor
    std: Tensor
    background: Tensor

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        manifest = bundle.manifest
        self.manifest, self.preprocess = manifest, manifest.preprocess
        self.network: Any = network_of(bundle)
        self.outputs = ("masks",)
        scale, box = self.preprocess.scale, self.preprocess.box
        # Without a box the network's layers depend on the size of the image: torch.export did not end within minutes.
        self.size = (round(box[0] / scale), round(box[1] / scale)) if scale else None
        self.pretrained_cfg = timm_config(manifest)
        for name, values in zip(("mean", "std"), self.preprocess.statistics, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1))
        self.register_buffer("background", torch.tensor(self.preprocess.background).float().view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """`(N, H, W, 3)`, 8 bits, to the position in the classes of each pixel, `(N, H, W)`, 8 bits."""
        pixels = images.permute(0, 3, 1, 2).float().contiguous()
        logits = self._scaled(pixels) if self.preprocess.scale else self._boxed(pixels)
        return (logits.argmax(dim=1).to(torch.uint8),)

    def _boxed(self, pixels: Tensor) -> Tensor:
        """Each image made as large as the box allows; what is left of the box is filled."""
        box_height, box_width = self.preprocess.box
        height, width = length(pixels.shape[2]), length(pixels.shape[3])
        scale = torch.minimum(box_height / height, box_width / width)
        inner = [torch.round(side * scale).clamp(min=1.0) for side in (height, width)]
        kind = self.preprocess.interpolation
        down, rows = resizing(pixels.shape[2], box_height, inner[0], kind)
        across, columns = resizing(pixels.shape[3], box_width, inner[1], kind)
        canvas = to_bytes(down @ to_bytes(pixels @ across.T))
        canvas = torch.where(rows[:, None] & columns[None, :], canvas, self.background)
        return self._enlarged(self._logits(canvas), pixels, *inner)

    def _scaled(self, pixels: Tensor) -> Tensor:
        """Images scaled by one number, so that objects keep their size in pixels."""
        if self.preprocess.scale == 1.0:
            return self._logits(pixels)
        width, height = fitted((pixels.shape[3], pixels.shape[2]), self.preprocess)
        kind = self.preprocess.interpolation
        down, _ = resizing(pixels.shape[2], height, length(height), kind)
        across, _ = resizing(pixels.shape[3], width, length(width), kind)
        canvas = to_bytes(down @ to_bytes(pixels @ across.T))
        return self._enlarged(self._logits(canvas), pixels, length(height), length(width))

    def _enlarged(self, logits: Tensor, pixels: Tensor, height: Tensor, width: Tensor) -> Tensor:
        """Logits at the size of the images; of a box, the part that is the image."""
        down = _enlarging(logits.shape[2], height, pixels.shape[2])
        across = _enlarging(logits.shape[3], width, pixels.shape[3])
        return down @ (logits @ across.T)

    def _logits(self, canvas: Tensor) -> Tensor:
        """The mean prediction over the bundle's views, `(N, K, h, w)`."""
        views = self.manifest.views
        each = [self._computed(canvas.flip(3)).flip(3) if v == "mirror" else self._computed(canvas) for v in views]
        if len(each) == 1:
            return each[0]
        return torch.log(torch.stack([torch.softmax(logits, dim=1) for logits in each]).mean(dim=0) + 1e-12)

    def _computed(self, canvas: Tensor) -> Tensor:
        logits: Tensor = self.network((canvas - self.mean) / self.std)
        return logits


def _enlarging(source: int, inner: Tensor, rows: int) -> Tensor:
    """Pillow's bilinear resizing of the first `inner` of `source` pixels to `rows`, `(rows, source)`."""
    position = torch.arange(source, dtype=torch.float64)
    scale = inner / length(rows)
    centre = (torch.arange(rows, dtype=torch.float64) + 0.5) * scale
    width = scale.clamp(min=1.0)
    matrix = (1.0 - ((position[None, :] + 0.5 - centre[:, None]) / width).abs()).clamp(min=0.0)
    matrix = torch.where(position[None, :] < inner, matrix, torch.zeros_like(matrix))
    return (matrix / matrix.sum(dim=1, keepdim=True)).float()
