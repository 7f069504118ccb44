"""The trunk below a segmentation decoder: one map of each resolution, from fine to coarse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foveal.errors import UsageError
from foveal.models import zoo
from foveal.models.backbones import bare_network, load_network
from foveal.models.segments import fold, segmented
from foveal.values import Backbone

#: A network of the zoo stands under this name, since timm knows some by the same: `zoo/resnet18`.
ZOO = "zoo/"
#: Side of the picture on which strides are read off, pixels.
_PROBE = 128


class Encoder(nn.Module):
    """Normalised pictures `(N, 3, H, W)` to maps `(N, C, H / stride, W / stride)`, from fine to coarse.

    Args:
        parts: modules in a row; the last map of each resolution is given, those of full resolution are not.

    Attributes:
        channels, strides: of each map.
        stride: of the last one; H and W must be multiples of it.
    """

    def __init__(self, parts: Sequence[nn.Module]) -> None:
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

    @property
    def stride(self) -> int:
        """Of the coarsest map."""
        return int(self.strides[-1])

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
        backbone: a `Backbone`, whose weights are loaded; or a name, for fresh weights: `lite0`, a timm name, or
            `zoo/NAME`.
        top: with the convolution that classifiers such as Lite0 put before their pooling: what `fc7` was to Long
            et al.
        dilated: the coarsest map keeps the resolution of the one before, its kernels dilated instead (Chen et al.
            2018).
        folded: batch normalisation is merged into the convolutions before it. A batch of segmentation holds few
            pictures, whose statistics say little.

    Raises:
        UnknownName: when nobody knows the network.
        UsageError: when its stages are not known, or do not end at a stride of 32.
    """
    name = backbone if isinstance(backbone, str) else backbone.name
    if name.startswith(ZOO):
        parts = list(zoo.create(name.removeprefix(ZOO), channels=3).trunk.children())
    else:
        parts = _timm_parts(backbone, top=top, folded=folded)
    if dilated:
        _dilate(parts, Encoder(parts))
    encoder = Encoder(parts)
    if encoder.strides != ((2, 4, 8, 16) if dilated else (2, 4, 8, 16, 32)):
        raise UsageError(
            f"{name} has maps of the strides {', '.join(map(str, encoder.strides))}",
            hint="segmentation wants maps of 2, 4, 8, 16 and 32, as lite0 or a ResNet has",
        )
    return encoder


def _timm_parts(backbone: str | Backbone, *, top: bool, folded: bool) -> list[nn.Module]:
    network = bare_network(backbone) if isinstance(backbone, str) else load_network(backbone)
    if folded:
        fold(network)
    segments = segmented(network)
    if segments is None:
        raise UsageError(
            f"the stages of a {type(network).__name__} are not known",
            hint="lite0 and ResNets can be segmented with",
        )
    first, *parts, last = segments.parts
    # A ResNet's first segment holds maps of two resolutions.
    parts = [*(first if isinstance(first, nn.Sequential) else [first]), *parts]
    # The last segment ends in pooling; what stands before that is a layer of its own.
    return [*parts, nn.Sequential(*list(last)[:-1])] if top and isinstance(last, nn.Sequential) else parts


def _dilate(parts: Sequence[nn.Module], encoder: Encoder) -> None:
    """The parts that lead to the coarsest map, in place: strides become 1, what follows them is dilated."""
    first = encoder._taken[-2] + 1
    for part in parts[first:]:
        for module in part.modules():
            if not isinstance(module, nn.Conv2d):
                continue
            module.stride = (1, 1)
            if module.kernel_size != (1, 1):
                module.dilation = (2, 2)
                if module.padding not in (
                    "same",
                    (0, 0),
                ):  # timm's own "same" padding looks at stride and dilation
                    module.padding = tuple((k // 2) * 2 for k in module.kernel_size)
