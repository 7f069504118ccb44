"""Batches for segmentation: pieces of pictures with their masks, turned, resized, lit, each a pure function of its
step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from foveal.fit.augment import Augment, augmented
from foveal.fit.batches import statistics_of
from foveal.metrics.segmentation import VOID
from foveal.values import Preprocess

Pixels = NDArray[np.uint8]
#: Pictures, or masks, of one size in an array, or of any in a list.
Stack = Sequence[Pixels] | Pixels
#: Places of each class that are remembered of a picture, to cut crops around.
_PLACES = 64


@dataclass(frozen=True)
class Cut:
    """How pieces are cut out.

    Attributes:
        height, width: of a piece, pixels.
        smallest, largest: how far the picture is resized before it is cut; drawn evenly on a logarithmic scale.
        rotate: degrees, each way.
        stretch: share by which its sides are resized differently, each way.
        around: share of the pieces cut around a place of a class that is drawn evenly from those in the picture,
            so that small things are seen often.
        mirror: whether half of the pieces are mirrored.
        light, tint: see `Augment`.
    """

    height: int
    width: int
    smallest: float = 0.6
    largest: float = 1.4
    rotate: float = 5.0
    stretch: float = 0.1
    around: float = 0.5
    mirror: bool = False
    light: float = 0.2
    tint: float = 0.1


class Crops:
    """Step → normalised pieces `(B, 3, h, w)` and their masks `(B, h, w)` with `VOID` outside of the picture.

    Args:
        pictures: each `(3, H, W)`, 8 bits; sizes may differ.
        masks: each `(H, W)`, positions in the classes or `VOID`.
        preprocess: mean and deviation.
        size: pieces in a batch; more than there are pictures is as many.
        cut: how they are cut.
        classes: K.
        seed: of order and cuts.
        device: where to.
    """

    def __init__(
        self,
        pictures: Stack,
        masks: Stack,
        preprocess: Preprocess,
        *,
        size: int,
        cut: Cut,
        classes: int,
        seed: int,
        device: str = "cpu",
    ) -> None:
        self.size = min(size, len(pictures))
        self.per_epoch = max(1, len(pictures) // self.size)
        self.cut = cut
        self._pictures, self._masks = pictures, masks
        self._mean, self._std = statistics_of(preprocess, "cpu")
        self._seed, self._device = seed, device
        self._classes = classes
        self._found: dict[int, list[NDArray[np.int64]]] = {}

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step."""
        epoch, place = divmod(step, self.per_epoch)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._pictures))
        some = order[place * self.size : (place + 1) * self.size].tolist()
        chance = np.random.default_rng([self._seed, 1, step])
        cut = [self._piece(i, chance) for i in some]
        pictures, masks = (torch.cat(p) for p in zip(*cut, strict=True))
        pictures = (pictures - self._mean) / self._std
        if self.cut.mirror:
            turned = torch.from_numpy(chance.random(len(pictures)) < 0.5)
            pictures = torch.where(turned[:, None, None, None], pictures.flip(3), pictures)
            masks = torch.where(turned[:, None, None], masks.flip(2), masks)
        lit = Augment(light=self.cut.light, tint=self.cut.tint)
        pictures = augmented(pictures, lit, torch.Generator().manual_seed(self._seed * 1_000_003 + step))
        return pictures.to(self._device).contiguous(memory_format=torch.channels_last), masks.to(self._device)

    def _piece(self, i: int, chance: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One piece of 0-255, `(1, 3, h, w)`, and its mask `(1, h, w)`; outside are the mean, and void."""
        cut = self.cut
        picture, mask = np.asarray(self._pictures[i]), np.asarray(self._masks[i])
        height, width = mask.shape
        zoom = math.exp(chance.uniform(math.log(cut.smallest), math.log(cut.largest)))
        zooms = zoom * np.exp(chance.uniform(-cut.stretch, cut.stretch, 2))
        angle = math.radians(chance.uniform(-cut.rotate, cut.rotate))
        down, right = cut.height / zooms[0], cut.width / zooms[1]  # the piece in pixels of the picture
        centre = self._centre(i, (height, width), (down, right), chance)
        cos, sin = math.cos(angle), math.sin(angle)
        # From the piece's coordinates, -1 to 1, to the picture's.
        affine = torch.tensor(
            [[
                [cos * right / width, -sin * down / width, 2 * centre[1] / width - 1],
                [sin * right / height, cos * down / height, 2 * centre[0] / height - 1],
            ]],
            dtype=torch.float32,
        )  # fmt: skip
        grid = functional.affine_grid(affine, [1, 1, cut.height, cut.width], align_corners=False)
        seen = torch.from_numpy(picture)[None].float() - self._mean
        seen = functional.grid_sample(seen, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        wanted = torch.from_numpy(mask)[None, None].float() - VOID  # so that zeros outside are void
        wanted = functional.grid_sample(wanted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
        return seen + self._mean, (wanted[:, 0] + VOID).round().long()

    def _centre(
        self, i: int, sides: tuple[int, int], piece: tuple[float, float], chance: np.random.Generator
    ) -> list[float]:
        """Where to cut, (y, x): evenly, or near a place of some class; inside the picture where the piece fits."""
        aim = [chance.uniform(0, side) for side in sides]
        if self.cut.around and (known := self._places_in(i)) and chance.random() < self.cut.around:
            places = known[chance.integers(len(known))]
            found = places[chance.integers(len(places))]
            aim = [float(y) + chance.uniform(-0.25, 0.25) * p for y, p in zip(found, piece, strict=True)]
        return [
            min(max(a, p / 2), s - p / 2) if p <= s else s / 2 + (chance.random() - 0.5) * (p - s)
            for a, p, s in zip(aim, piece, sides, strict=True)
        ]

    def _places_in(self, i: int) -> list[NDArray[np.int64]]:
        """Of one picture, found when a piece of it is first cut: a speed is measured on pieces of a few."""
        if i not in self._found:
            self._found[i] = _places(self._masks[i], self._classes, self._seed + i)
        return self._found[i]


def _places(mask: Pixels, classes: int, seed: int) -> list[NDArray[np.int64]]:
    """Some places `(n, 2)` of each class that occurs."""
    chance = np.random.default_rng(seed)
    flat = np.asarray(mask).ravel()
    found = []
    for c in range(classes):
        where = np.flatnonzero(flat == c)
        if len(where):
            found.append(
                np.stack(np.divmod(chance.choice(where, min(len(where), _PLACES)), mask.shape[1]), axis=1)
            )
    return found
