"""Batches for segmentation: random crops of images and their masks, each a pure function of its step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from foveal.metrics.segmentation import VOID
from foveal.models.normalisation import Normalisation
from foveal.training.batches.augment import augmented
from foveal.training.recipes.augmentation import Augment
from foveal.values import Preprocess

Pixels = NDArray[np.uint8]
#: Images, or masks, of one size in an array, or of any in a list.
Stack = Sequence[Pixels] | Pixels
#: Pixels of each class that are remembered of an image, to cut crops around.
_PIXELS_PER_CLASS = 64


@dataclass(frozen=True)
class CropOptions:
    """How crops are cut out.

    Attributes:
        height, width: of a crop, pixels.
        min_zoom, max_zoom: how far the image is resized before it is cut; drawn evenly on a logarithmic scale.
        rotate: degrees, each way.
        stretch: share by which its sides are resized differently, each way.
        class_crop_prob: share of the crops cut around a pixel of a class drawn evenly from those in the image, so
            that small objects are seen often.
        hflip: whether half of the crops are mirrored.
        brightness_contrast, channel_gain: see `Augment`.
    """

    height: int
    width: int
    min_zoom: float = 0.6
    max_zoom: float = 1.4
    rotate: float = 5.0
    stretch: float = 0.1
    class_crop_prob: float = 0.5
    hflip: bool = False
    brightness_contrast: float = 0.2
    channel_gain: float = 0.1


class Crops:
    """Step → normalised crops `(B, 3, h, w)` and their masks `(B, h, w)` with `VOID` outside of the image.

    Args:
        images: each `(3, H, W)`, 8 bits; sizes may differ.
        masks: each `(H, W)`, positions in the classes or `VOID`.
        preprocess: mean and standard deviation.
        size: crops in a batch, at most as many as there are images.
        options: how they are cut.
        classes: K.
        seed: of order and cuts.
        device: where to.
    """

    def __init__(
        self,
        images: Stack,
        masks: Stack,
        preprocess: Preprocess,
        *,
        size: int,
        options: CropOptions,
        classes: int,
        seed: int,
        device: str = "cpu",
    ) -> None:
        self.size = min(size, len(images))
        self.per_epoch = max(1, len(images) // self.size)
        self.options = options
        self._images, self._masks = images, masks
        self._normalise = Normalisation(preprocess)
        self._seed, self._device = seed, device
        self._classes = classes
        self._by_class: dict[int, list[NDArray[np.int64]]] = {}

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step."""
        epoch, place = divmod(step, self.per_epoch)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._images))
        chosen = order[place * self.size : (place + 1) * self.size].tolist()
        rng = np.random.default_rng([self._seed, 1, step])
        crops = [self._crop(i, rng) for i in chosen]
        images, masks = (torch.cat(p) for p in zip(*crops, strict=True))
        images = self._normalise(images)
        if self.options.hflip:
            flipped = torch.from_numpy(rng.random(len(images)) < 0.5)
            images = torch.where(flipped[:, None, None, None], images.flip(3), images)
            masks = torch.where(flipped[:, None, None], masks.flip(2), masks)
        colour = Augment(
            brightness_contrast=self.options.brightness_contrast, channel_gain=self.options.channel_gain
        )
        images = augmented(images, colour, torch.Generator().manual_seed(self._seed * 1_000_003 + step))
        return images.to(self._device).contiguous(memory_format=torch.channels_last), masks.to(self._device)

    def _crop(self, i: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One crop of 0-255, `(1, 3, h, w)`, and its mask `(1, h, w)`; outside are the mean, and `VOID`."""
        options = self.options
        image, mask = np.asarray(self._images[i]), np.asarray(self._masks[i])
        height, width = mask.shape
        zoom = math.exp(rng.uniform(math.log(options.min_zoom), math.log(options.max_zoom)))
        zooms = zoom * np.exp(rng.uniform(-options.stretch, options.stretch, 2))
        angle = math.radians(rng.uniform(-options.rotate, options.rotate))
        down, right = options.height / zooms[0], options.width / zooms[1]  # the crop in pixels of the image
        centre = self._centre(i, (height, width), (down, right), rng)
        cos, sin = math.cos(angle), math.sin(angle)
        # From the crop's coordinates, -1 to 1, to the image's.
        affine = torch.tensor(
            [[
                [cos * right / width, -sin * down / width, 2 * centre[1] / width - 1],
                [sin * right / height, cos * down / height, 2 * centre[0] / height - 1],
            ]],
            dtype=torch.float32,
        )  # fmt: skip
        grid = functional.affine_grid(affine, [1, 1, options.height, options.width], align_corners=False)
        seen = torch.from_numpy(image)[None].float() - self._normalise.mean
        seen = functional.grid_sample(seen, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        wanted = torch.from_numpy(mask)[None, None].float() - VOID  # so that zeros outside are VOID
        wanted = functional.grid_sample(wanted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
        return seen + self._normalise.mean, (wanted[:, 0] + VOID).round().long()

    def _centre(
        self, i: int, sides: tuple[int, int], crop: tuple[float, float], rng: np.random.Generator
    ) -> list[float]:
        """Centre of the crop, (y, x): anywhere, or near a pixel of some class; inside the image if the crop fits."""
        aim, by_class = [rng.uniform(0, side) for side in sides], self.options.class_crop_prob
        if by_class and (known := self._pixels_of(i)) and rng.random() < by_class:
            pixels = known[rng.integers(len(known))]
            pixel = pixels[rng.integers(len(pixels))]
            aim = [float(y) + rng.uniform(-0.25, 0.25) * p for y, p in zip(pixel, crop, strict=True)]
        return [
            min(max(a, p / 2), s - p / 2) if p <= s else s / 2 + (rng.random() - 0.5) * (p - s)
            for a, p, s in zip(aim, crop, sides, strict=True)
        ]

    def _pixels_of(self, i: int) -> list[NDArray[np.int64]]:
        """Of one image, found when a crop of it is first cut: speed is measured on crops of a few."""
        if i not in self._by_class:
            self._by_class[i] = _pixels_by_class(self._masks[i], self._classes, self._seed + i)
        return self._by_class[i]


def _pixels_by_class(mask: Pixels, classes: int, seed: int) -> list[NDArray[np.int64]]:
    """Some pixels `(n, 2)` of each class that occurs."""
    rng = np.random.default_rng(seed)
    flat = np.asarray(mask).ravel()
    options = []
    for c in range(classes):
        where = np.flatnonzero(flat == c)
        if len(where):
            options.append(
                np.stack(np.divmod(rng.choice(where, min(len(where), _PIXELS_PER_CLASS)), mask.shape[1]), axis=1)
            )
    return options
