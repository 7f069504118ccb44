"""Random changes that keep the target, made to a whole batch at once on the device that trains."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from foveal.training.recipes.augmentation import Augment


def augmented(images: Tensor, augment: Augment, generator: torch.Generator) -> Tensor:
    """A batch `(N, C, H, W)` of floats, each image changed in its own way; the generator is on the CPU."""
    if augment.hflip:
        turned = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(turned.to(images.device)[:, None, None, None], images.flip(3), images)
    if augment.warps:
        images = _warped(images, augment, generator)
    elif augment.translate >= 1:
        images = _translated(images, int(augment.translate), generator)
    return (
        _recoloured(images, augment, generator) if augment.brightness_contrast or augment.channel_gain else images
    )


def _recoloured(images: Tensor, augment: Augment, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and channel gains, on normalised values."""

    def draw(channels: int, most: float) -> Tensor:
        drawn = (2 * torch.rand(len(images), channels, 1, 1, generator=generator) - 1) * most
        return drawn.to(images.device)

    gain = 1 + draw(1, augment.brightness_contrast) + draw(images.shape[1], augment.channel_gain)
    return images * gain + draw(1, augment.brightness_contrast)


def _translated(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """By whole pixels; the edge is repeated."""
    n, _, height, width = images.shape
    wide = functional.pad(images, (most, most, most, most), mode="replicate")
    places = wide.unfold(2, height, 1).unfold(3, width, 1)
    y, x = torch.randint(0, 2 * most + 1, (2, n), generator=generator).to(images.device)
    return places[torch.arange(n, device=images.device), :, y, x]


def _warped(images: Tensor, augment: Augment, generator: torch.Generator) -> Tensor:
    """By an affine map and a smooth displacement, in one interpolation."""
    n, _, height, width = images.shape

    def draw(most: float) -> Tensor:
        return (2 * torch.rand(n, generator=generator) - 1) * most

    angle = draw(math.radians(augment.rotate))
    zoom_x, zoom_y = 1 + draw(augment.scale), 1 + draw(augment.scale)
    lean = draw(augment.shear)
    cos, sin = torch.cos(angle), torch.sin(angle)
    affine = torch.zeros(n, 2, 3)
    affine[:, 0, 0], affine[:, 0, 1] = cos * zoom_x, -sin * zoom_x + lean
    affine[:, 1, 0], affine[:, 1, 1] = sin * zoom_y, cos * zoom_y
    affine[:, 0, 2], affine[:, 1, 2] = draw(2 * augment.translate / width), draw(2 * augment.translate / height)
    grid = functional.affine_grid(affine.to(images.device), [n, 1, height, width], align_corners=False)
    if augment.elastic:
        size = torch.tensor([2 * augment.elastic / width, 2 * augment.elastic / height]).view(1, 2, 1, 1)
        coarse = torch.randn(n, 2, augment.elastic_grid, augment.elastic_grid, generator=generator) * size
        smooth = functional.interpolate(
            coarse.to(images.device), (height, width), mode="bicubic", align_corners=True
        )
        grid = grid + smooth.permute(0, 2, 3, 1)
    return sampled(images, grid)


def sampled(images: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples at a grid `(N, H, W, 2)`; outside of the image its edge is repeated.

    torch before 2.13 has no such padding on MPS: there places outside are moved to the edge first.
    """
    edge = "border"
    if images.device.type == "mps":
        last = 1 - 1 / torch.tensor([images.shape[3], images.shape[2]], device=grid.device, dtype=grid.dtype)
        grid, edge = torch.minimum(torch.maximum(grid, -last), last), "zeros"
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode=edge, align_corners=False)
