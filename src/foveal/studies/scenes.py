"""Small scenes to be segmented: digits of several sizes and colours on an uneven ground. Made of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from foveal.studies.digits import Side

Pixels = NDArray[np.uint8]
#: A digit's pixel belongs to it from this brightness on.
_INK = 100


def scenes(
    side: Side, count: int, *, pixels: int, digits: Sequence[int], chance: np.random.Generator
) -> tuple[list[Pixels], list[Pixels]]:
    """Pictures `(3, H, W)` and their masks `(H, W)`; class 0 is the ground, class k the k-th of `digits`.

    Args:
        side: grey digits to draw from.
        count: scenes.
        pixels: their side.
        digits: labels that occur.
        chance: decides.
    """
    of = [np.flatnonzero(side.labels == d) for d in digits]
    pairs = [_scene(side, of, pixels, chance) for _ in range(count)]
    return [p for p, _ in pairs], [m for _, m in pairs]


def _scene(
    side: Side, of: Sequence[NDArray[Any]], pixels: int, chance: np.random.Generator
) -> tuple[Pixels, Pixels]:
    picture = _ground(pixels, chance)
    mask = np.zeros((pixels, pixels), dtype=np.uint8)
    for _ in range(int(chance.integers(2, 5))):
        kind = int(chance.integers(len(of)))
        digit = _resized(side.pixels[int(chance.choice(of[kind])), 0], int(chance.integers(28, 49)))
        size = len(digit)
        y, x = (int(n) for n in chance.integers(0, pixels - size + 1, 2))
        here = slice(y, y + size), slice(x, x + size)
        ink = digit > _INK
        if (mask[here][ink] > 0).any():  # things that overlap would be a task of its own
            continue
        colour = chance.uniform(150, 255, 3)[:, None, None]
        share = digit[None] / 255.0
        picture[:, here[0], here[1]] = picture[:, here[0], here[1]] * (1 - share) + colour * share
        mask[here][ink] = kind + 1
    return picture.round().clip(0, 255).astype(np.uint8), mask


def _ground(pixels: int, chance: np.random.Generator) -> NDArray[np.float64]:
    coarse = torch.from_numpy(chance.uniform(20, 130, (1, 3, 5, 5)))
    smooth = functional.interpolate(coarse, size=(pixels, pixels), mode="bicubic", align_corners=True)[0].numpy()
    ground: NDArray[np.float64] = smooth + chance.normal(0, 12, (3, pixels, pixels))
    return ground


def _resized(digit: Pixels, size: int) -> NDArray[np.float64]:
    given = torch.from_numpy(digit.astype(np.float64))[None, None]
    found: NDArray[np.float64] = functional.interpolate(given, size=(size, size), mode="bilinear")[0, 0].numpy()
    return found
