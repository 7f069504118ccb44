"""Fully convolutional networks: Long, Shelhamer and Darrell, "Fully convolutional networks for semantic
segmentation" (2015). Scores of each class are made at stride 32 and upsampled; FCN-16s and FCN-8s add the scores
of finer maps on the way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FCN(nn.Module):
    """Maps of an encoder to logits `(N, classes, H, W)` at full resolution.

    As in the paper the layers that make scores start at zero, so that an FCN-16s starts as the FCN-32s; scores are
    upsampled by transposed convolutions that start as bilinear interpolation. The last of these stays so.

    Args:
        channels: of the encoder's maps.
        strides: of the same maps.
        classes: K.
        finest: stride of the finest map that is scored: 32, 16 or 8.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], classes: int, finest: int) -> None:
        super().__init__()
        self._scored = [i for i, s in enumerate(strides) if s >= finest][::-1]  # from coarse to fine
        self.score = nn.ModuleList(nn.Conv2d(channels[i], classes, 1) for i in self._scored)
        self.up = nn.ModuleList(
            bilinear(classes, strides[a] // strides[b])
            for a, b in zip(self._scored, self._scored[1:], strict=False)
        )
        self.last = bilinear(classes, strides[self._scored[-1]], mixing=False).requires_grad_(False)
        for score in self.score:
            assert isinstance(score, nn.Conv2d) and score.bias is not None
            nn.init.zeros_(score.weight)
            nn.init.zeros_(score.bias)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Scores, upsampled with the skips added."""
        x: Tensor = self.score[0](maps[self._scored[0]])
        for up, score, position in zip(self.up, self.score[1:], self._scored[1:], strict=True):
            x = up(x) + score(maps[position])
        logits: Tensor = self.last(x)
        return logits


def bilinear(classes: int, factor: int, *, mixing: bool = True) -> nn.ConvTranspose2d:
    """A transposed convolution that starts as bilinear upsampling, each class by itself.

    Args:
        classes: channels.
        factor: of upsampling, even.
        mixing: whether training may mix the classes.
    """
    up = nn.ConvTranspose2d(
        classes,
        classes,
        2 * factor,
        stride=factor,
        padding=factor // 2,
        bias=False,
        groups=1 if mixing else classes,
    )
    tent = 1 - (torch.arange(2 * factor) - factor + 0.5).abs() / factor
    with torch.no_grad():
        up.weight.zero_()
        for c in range(classes):
            up.weight[c, c if mixing else 0] = tent[:, None] * tent[None, :]
    return up
