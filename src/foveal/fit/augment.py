"""Random changes that keep the label, made to a whole batch at once on the device that trains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augment:
    """How much a picture may change; 0 is not at all.

    Attributes:
        shift: pixels, each way.
        rotate: degrees, each way.
        scale: share, each way.
        shear: share, each way.
        elastic: pixels of a smooth random displacement (standard deviation; Simard et al. 2003).
        coarse: points a side at which that displacement is drawn.
        mirror: whether half of the pictures are mirrored.
        light: share by which brightness and contrast change, each way.
        tint: share by which each channel changes.
    """

    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    coarse: int = 5
    mirror: bool = False
    light: float = 0.0
    tint: float = 0.0

    def to_dict(self) -> Mapping[str, Any]:
        """As JSON-able values."""
        return asdict(self)

    @property
    def bends(self) -> bool:
        """Whether pixels have to be interpolated."""
        return any((self.rotate, self.scale, self.shear, self.elastic))


def augmented(pictures: Tensor, how: Augment, chance: torch.Generator) -> Tensor:
    """A batch `(N, C, H, W)` of floats, each picture changed in its own way; the generator lives on the CPU."""
    if how.mirror:
        turned = torch.rand(len(pictures), generator=chance) < 0.5
        pictures = torch.where(turned.to(pictures.device)[:, None, None, None], pictures.flip(3), pictures)
    if how.bends:
        pictures = _bent(pictures, how, chance)
    elif how.shift >= 1:
        pictures = _shifted(pictures, int(how.shift), chance)
    return _lit(pictures, how, chance) if how.light or how.tint else pictures


def _lit(pictures: Tensor, how: Augment, chance: torch.Generator) -> Tensor:
    """Other brightness, contrast and colours, on normalised values."""

    def draw(channels: int, most: float) -> Tensor:
        drawn = (2 * torch.rand(len(pictures), channels, 1, 1, generator=chance) - 1) * most
        return drawn.to(pictures.device)

    gain = 1 + draw(1, how.light) + draw(pictures.shape[1], how.tint)
    return pictures * gain + draw(1, how.light)


def _shifted(pictures: Tensor, most: int, chance: torch.Generator) -> Tensor:
    """By whole pixels; what comes in repeats the edge."""
    n, _, height, width = pictures.shape
    wide = functional.pad(pictures, (most, most, most, most), mode="replicate")
    places = wide.unfold(2, height, 1).unfold(3, width, 1)
    y, x = torch.randint(0, 2 * most + 1, (2, n), generator=chance).to(pictures.device)
    return places[torch.arange(n, device=pictures.device), :, y, x]


def _bent(pictures: Tensor, how: Augment, chance: torch.Generator) -> Tensor:
    """By an affine map and a smooth displacement, in one interpolation."""
    n, _, height, width = pictures.shape

    def draw(most: float) -> Tensor:
        return (2 * torch.rand(n, generator=chance) - 1) * most

    angle = draw(math.radians(how.rotate))
    zoom_x, zoom_y = 1 + draw(how.scale), 1 + draw(how.scale)
    lean = draw(how.shear)
    cos, sin = torch.cos(angle), torch.sin(angle)
    affine = torch.zeros(n, 2, 3)
    affine[:, 0, 0], affine[:, 0, 1] = cos * zoom_x, -sin * zoom_x + lean
    affine[:, 1, 0], affine[:, 1, 1] = sin * zoom_y, cos * zoom_y
    affine[:, 0, 2], affine[:, 1, 2] = draw(2 * how.shift / width), draw(2 * how.shift / height)
    grid = functional.affine_grid(affine.to(pictures.device), [n, 1, height, width], align_corners=False)
    if how.elastic:
        size = torch.tensor([2 * how.elastic / width, 2 * how.elastic / height]).view(1, 2, 1, 1)
        coarse = torch.randn(n, 2, how.coarse, how.coarse, generator=chance) * size
        smooth = functional.interpolate(
            coarse.to(pictures.device), (height, width), mode="bicubic", align_corners=True
        )
        grid = grid + smooth.permute(0, 2, 3, 1)
    return sampled(pictures, grid)


def sampled(pictures: Tensor, grid: Tensor) -> Tensor:
    """Bilinear at the places `(N, H, W, 2)` of a grid; beyond an edge its pixels go on.

    On Apple's GPU torch before 2.13 knows no such edge: there places outside are moved to it first.
    """
    edge = "border"
    if pictures.device.type == "mps":
        last = 1 - 1 / torch.tensor([pictures.shape[3], pictures.shape[2]], device=grid.device, dtype=grid.dtype)
        grid, edge = torch.minimum(torch.maximum(grid, -last), last), "zeros"
    return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode=edge, align_corners=False)


#: What `--augment` names: strengths for photographs and the like, sides being 1. `auto` is `light`, mirrored where
#: mirrored pictures keep their label; `strong` likewise.
STRENGTHS = {
    "none": Augment(),
    "light": Augment(shift=0.08, rotate=12, scale=0.15, shear=0.05, light=0.2, tint=0.1),
    "strong": Augment(shift=0.12, rotate=20, scale=0.3, shear=0.1, elastic=0.01, light=0.4, tint=0.2),
}
