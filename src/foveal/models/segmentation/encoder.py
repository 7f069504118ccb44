"""The encoder of a segmentation network: one map of each resolution, from fine to coarse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foveal.errors import UsageError
from foveal.models import zoo
from foveal.models.backbone_stages import split_network
from foveal.models.backbones import load_network, untrained_network
from foveal.models.batch_norm_folding import fold_batch_norm
from foveal.values import Backbone

#: Prefix of a network of the zoo, since timm has some of the same name: `zoo/resnet18`.
ZOO = "zoo/"
#: Side of the image on which strides are measured, pixels.
_PROBE = 128
#: Strides of the maps that decoders are made for; the last may be missing.
_STRIDES = (2, 4, 8, 16, 32)


class Encoder(nn.Module):
    """Normalised images `(N, 3, H, W)` to maps `(N, C, H / stride, W / stride)`, from fine to coarse.

    Args:
        parts: modules in order; the last map of each resolution is given, except full resolution.
        reduction: H and W must be multiples of it; None: of the stride of the coarsest map.

    Attributes:
        channels, strides: of each map.
        reduction: H and W must be multiples of it.
    """

    def __init__(self, parts: Sequence[nn.Module], reduction: int | None = None) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        was_training, sizes = self.training, []
        with torch.no_grad():
            x = torch.zeros(1, 3, _PROBE, _PROBE)
            for part in self.parts.eval():
                x = part(x)
                sizes.append((x.shape[1], _PROBE // x.shape[2]))
        self.parts.train(was_training)
        later = [stride for _, stride in sizes[1:]] + [0]
        self._taken = [i for i, (_, s) in enumerate(sizes) if s > 1 and s != later[i]]
        self.channels = tuple(sizes[i][0] for i in self._taken)
        self.strides = tuple(sizes[i][1] for i in self._taken)
        self.reduction = reduction or max(self.strides, default=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """All maps."""
        maps = []
        for i, part in enumerate(self.parts):
            x = part(x)
            if i in self._taken:
                maps.append(x)
        return maps


def encoder_for(
    backbone: str | Backbone, *, top: bool = False, dilated: bool = False, folded: bool = True
) -> Encoder:
    """An encoder out of a classifier.

    Args:
        backbone: a `Backbone`, whose weights are loaded; or a name, for fresh weights: see `find_backbone`, or
            `zoo/NAME`.
        top: with the convolution that classifiers such as Lite0 have before their pooling: what `fc7` was to Long
            et al.
        dilated: the coarsest map keeps the resolution of the one before, its kernels dilated instead (Chen et al.
            2018).
        folded: batch normalisation is merged into the convolutions before it. A batch of segmentation holds few
            images, whose statistics say little.

    Raises:
        UnknownName: when no source has the network.
        UsageError: when it belongs to no known family, or its maps have other strides than decoders take.
    """
    name = backbone if isinstance(backbone, str) else backbone.name
    if name.startswith(ZOO):
        parts = list(zoo.create(name.removeprefix(ZOO), channels=3).trunk.children())
    else:
        parts = _parts_of(backbone, top=top, folded=folded)
    encoder = Encoder(parts)
    if encoder.strides not in (_STRIDES, _STRIDES[:-1]):
        raise UsageError(
            f"{name} has maps of strides {', '.join(map(str, encoder.strides))}",
            hint="segmentation needs maps of strides 2, 4, 8, 16 and 32, as lite0 or a ResNet has",
        )
    if not dilated:
        return encoder
    _dilate(parts, encoder)
    return Encoder(parts, encoder.reduction)


def _parts_of(backbone: str | Backbone, *, top: bool, folded: bool) -> list[nn.Module]:
    network = untrained_network(backbone) if isinstance(backbone, str) else load_network(backbone)
    if folded:
        fold_batch_norm(network)
    parts = split_network(network)
    if parts is None:
        raise UsageError(
            f"{type(network).__name__} belongs to no known backbone family",
            hint="lite0, EfficientNets and ResNets can be encoders",
        )
    neck = [nn.Sequential(*parts.neck)] if top and parts.neck else []
    # The modules of the stem one by one: a ResNet's gives maps of two resolutions.
    return [*parts.stem, *parts.stages, *neck]


def _dilate(parts: Sequence[nn.Module], encoder: Encoder) -> None:
    """Change the parts that lead to the coarsest map, in place: stride 1, and dilated kernels instead."""
    first = encoder._taken[-2] + 1
    for part in parts[first:]:
        for module in part.modules():
            if not isinstance(module, nn.Conv2d):
                continue
            module.stride = (1, 1)
            if module.kernel_size != (1, 1):
                module.dilation = (2, 2)
                # timm's own "same" padding follows stride and dilation by itself.
                if module.padding not in ("same", (0, 0)):
                    module.padding = tuple((k // 2) * 2 for k in module.kernel_size)
