"""A segmenter by name: encoder, decoder, and pictures of any size."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from foveal.errors import UnknownName, WeightsUnavailable
from foveal.models.segmentation.encoder import Encoder, encoder_for
from foveal.models.segmentation.fcn import FCN
from foveal.values import Backbone

#: FCN decoders, and the finest stride that each scores at.
_FCN = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}
DECODERS = (*_FCN, "unet", "deeplabv3plus")
#: Of the encoder's coarsest map, or what its pictures must be multiples of.
_STRIDE = 32
#: Widths of the U-Net's blocks, from coarse to fine; its scores are made at a quarter of the resolution.
WIDTHS = (96, 64, 48)


class Segmenter(nn.Module):
    """Normalised pictures `(N, 3, H, W)` of any size to logits `(N, classes, H, W)`.

    Args:
        encoder: gives maps.
        decoder: maps to logits, at any resolution.
        classes: K.
        scale: pictures are looked at in this share of their size, and answers enlarged again.

    Attributes:
        stride: pictures are padded to multiples of it, on the right and below, and answers cut back.
    """

    def __init__(self, encoder: Encoder, decoder: nn.Module, classes: int, scale: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.decoder, self.classes, self.scale = encoder, decoder, classes, scale
        self.stride = (_STRIDE / Fraction(scale).limit_denominator(16)).numerator

    def forward(self, x: Tensor) -> Tensor:
        """All of it."""
        height, width = x.shape[2:]
        down, right = -height % self.stride, -width % self.stride
        if down or right:
            x = functional.pad(x, (0, right, 0, down))
        whole = x.shape[2:]
        if self.scale != 1:
            x = _resized(x, [round(side * self.scale) for side in whole])
        logits: Tensor = self.decoder(self.encoder(x))
        if logits.shape[2:] != whole:
            logits = _resized(logits, whole)
        return logits[:, :, :height, :width] if down or right else logits


class AtItsScale(nn.Module):
    """A segmenter as it learns: pieces of its own scale to logits of the same size. Shares the weights."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.encoder, self.decoder = segmenter.encoder, segmenter.decoder

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pieces `(N, 3, h, w)`, sides multiples of 32, to logits `(N, classes, h, w)`."""
        logits: Tensor = self.decoder(self.encoder(x))
        return logits if logits.shape[2:] == x.shape[2:] else _resized(logits, x.shape[2:])


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class _Unet(nn.Module):
    """The decoder of segmentation-models-pytorch (Ronneberger et al. 2015), and the layer that scores."""

    def __init__(self, channels: Sequence[int], classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

        self.body = UnetDecoder((3, *channels), tuple(widths), n_blocks=len(widths))
        self.score = nn.Conv2d(widths[-1], classes, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        # What stands in the picture's place is looked at for its size alone, and only by a fifth block.
        logits: Tensor = self.score(self.body([maps[0], *maps]))
        return logits


class _DeepLab(nn.Module):
    """The decoder of segmentation-models-pytorch (Chen et al. 2018), and the layer that scores."""

    def __init__(self, channels: Sequence[int], classes: int, width: int) -> None:
        super().__init__()
        from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder

        # The decoder counts the picture and five maps; the third of these is the fine one.
        self.body = DeepLabV3PlusDecoder(
            (3, *channels), encoder_depth=len(channels), out_channels=width, atrous_rates=(12, 24, 36),
            output_stride=16, aspp_separable=True, aspp_dropout=0.1,
        )  # fmt: skip
        self.score = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.score(self.body([maps[0], *maps]))
        return logits


def segmenter(
    decoder: str,
    classes: int,
    backbone: str | Backbone = "lite0",
    *,
    widths: Sequence[int] = WIDTHS,
    width: int = 128,
    folded: bool = True,
    scale: float = 1.0,
) -> Segmenter:
    """A network for segmentation.

    Args:
        decoder: one of `DECODERS`.
        classes: K.
        backbone: see `encoder_for`; a `Backbone` brings its weights.
        widths: of the U-Net's blocks, from coarse to fine; each doubles the resolution, beginning at stride 16.
        width: of DeepLab's decoder.
        folded: whether the encoder's batch normalisation is merged away.
        scale: see `Segmenter`.

    Raises:
        UnknownName: for a decoder or backbone that nobody knows.
        UsageError: for a backbone without the maps that are needed.
        WeightsUnavailable: when segmentation-models-pytorch, or the weights, are not installed.
    """
    if decoder not in DECODERS:
        raise UnknownName("decoder", decoder, DECODERS)
    encoder = encoder_for(backbone, top=decoder in _FCN, dilated=decoder == "deeplabv3plus", folded=folded)
    if decoder in _FCN:
        return Segmenter(encoder, FCN(encoder.channels, encoder.strides, classes, _FCN[decoder]), classes, scale)
    made: Any
    try:
        made = (
            _Unet(encoder.channels, classes, widths)
            if decoder == "unet"
            else _DeepLab(encoder.channels, classes, width)
        )
    except ModuleNotFoundError as missing:
        raise WeightsUnavailable(
            f"{decoder} needs {missing.name}, which is not installed", hint="pip install 'foveal[segment]'"
        ) from None
    return Segmenter(encoder, _begun(made), classes, scale)


def _begun(decoder: nn.Module) -> nn.Module:
    """Drawn as segmentation-models-pytorch draws it."""
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return decoder
