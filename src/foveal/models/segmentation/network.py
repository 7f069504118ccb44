"""A segmentation network by name: encoder, decoder, and images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from foveal.errors import UnknownName, UsageError, WeightsUnavailable
from foveal.models.segmentation.encoder import Encoder, encoder_for
from foveal.models.segmentation.fcn import FCN
from foveal.values import Backbone

#: FCN decoders, and the finest stride at which each makes scores.
_FCN = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}
DECODERS = (*_FCN, "unet", "deeplabv3plus")
#: Widths of the U-Net's blocks, from coarse to fine; its scores are made at a quarter of the resolution.
WIDTHS = (96, 64, 48)


class Segmenter(nn.Module):
    """Normalised images `(N, 3, H, W)` of any size to logits `(N, classes, H, W)`.

    Args:
        encoder: gives maps.
        decoder: maps to logits, at any resolution.
        classes: K.
        scale: images are reduced to this share of their size, and logits enlarged again.

    Attributes:
        stride: images are padded to multiples of it, on the right and below, and logits cropped.
    """

    def __init__(self, encoder: Encoder, decoder: nn.Module, classes: int, scale: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.decoder, self.classes, self.scale = encoder, decoder, classes, scale
        self.stride = (encoder.reduction / Fraction(scale).limit_denominator(16)).numerator

    def forward(self, x: Tensor) -> Tensor:
        """Pad, encode, decode, crop."""
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


class CropSegmenter(nn.Module):
    """A segmenter as it is trained: crops at its own scale to logits of the same size. Shares the weights."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.encoder, self.decoder = segmenter.encoder, segmenter.decoder

    def forward(self, x: Tensor) -> Tensor:
        """Normalised crops `(N, 3, h, w)`, multiples of `encoder.reduction`, to logits `(N, classes, h, w)`."""
        logits: Tensor = self.decoder(self.encoder(x))
        return logits if logits.shape[2:] == x.shape[2:] else _resized(logits, x.shape[2:])


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class _Unet(nn.Module):
    """The decoder of segmentation-models-pytorch (Ronneberger et al. 2015), and the layer that makes scores."""

    def __init__(self, channels: Sequence[int], classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

        self.body = UnetDecoder((3, *channels), tuple(widths), n_blocks=len(widths))
        self.score = nn.Conv2d(widths[-1], classes, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        # The decoder takes of the image only its size, and only in a fifth block: any map will do.
        logits: Tensor = self.score(self.body([maps[0], *maps]))
        return logits


class _DeepLab(nn.Module):
    """The decoder of segmentation-models-pytorch (Chen et al. 2018), and the layer that makes scores."""

    def __init__(self, channels: Sequence[int], classes: int, width: int, output_stride: int) -> None:
        super().__init__()
        from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder

        # The decoder counts the image and the maps; the third of these is the fine one.
        self.body = DeepLabV3PlusDecoder(
            (3, *channels), encoder_depth=len(channels), out_channels=width, atrous_rates=(12, 24, 36),
            output_stride=output_stride, aspp_separable=True, aspp_dropout=0.1,
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
        widths: of the U-Net's blocks, from coarse to fine; each doubles the resolution of the coarsest map.
        width: of DeepLab's decoder.
        folded: whether the encoder's batch normalisation is merged away.
        scale: see `Segmenter`.

    Raises:
        UnknownName: for an unknown decoder or backbone.
        UsageError: for a backbone without the maps that the decoder needs.
        WeightsUnavailable: when segmentation-models-pytorch, or the weights, are not installed.
    """
    if decoder not in DECODERS:
        raise UnknownName("decoder", decoder, DECODERS)
    encoder = encoder_for(backbone, top=decoder in _FCN, dilated=decoder == "deeplabv3plus", folded=folded)
    if decoder in _FCN:
        if _FCN[decoder] not in encoder.strides:
            raise UsageError(f"{decoder} needs a map of stride {_FCN[decoder]}, and the encoder gives none")
        return Segmenter(encoder, FCN(encoder.channels, encoder.strides, classes, _FCN[decoder]), classes, scale)
    made: Any
    try:
        made = (
            _Unet(encoder.channels, classes, widths)
            if decoder == "unet"
            else _DeepLab(encoder.channels, classes, width, encoder.strides[-1])
        )
    except ModuleNotFoundError as missing:
        raise WeightsUnavailable(
            f"{decoder} needs {missing.name}, which is not installed", hint="pip install 'foveal[segment]'"
        ) from None
    return Segmenter(encoder, _initialised(made), classes, scale)


def _initialised(decoder: nn.Module) -> nn.Module:
    """Fresh weights as segmentation-models-pytorch makes them."""
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return decoder
