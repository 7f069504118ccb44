"""Scenes of digits for the study on segmentation: square, noisy, with some of the classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from foveal.data.sources.digit_scenes import Glyph, Mask, ScenePainter
from foveal.studies.experiments.support.digits import DigitSet

_INK = 100
#: Smallest size of a digit, pixels, and one more than the largest.
_SIZES = (28, 49)


def scenes(
    source: DigitSet, count: int, *, size: int, digits: Sequence[int], rng: np.random.Generator
) -> tuple[list[NDArray[np.uint8]], list[Mask]]:
    """Images `(3, size, size)` and their masks; class 0 is the background, class k the k-th of `digits`.

    Args:
        source: grey digits.
        count: number of scenes.
        size: height and width of a scene, pixels.
        digits: the labels that occur.
        rng: random generator.
    """
    indices = [np.flatnonzero(source.labels == d) for d in digits]

    def background(rng: np.random.Generator) -> NDArray[np.float64]:
        coarse = torch.from_numpy(rng.uniform(20, 130, (1, 3, 5, 5)))
        smooth = functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)[0].numpy()
        noisy: NDArray[np.float64] = smooth + rng.normal(0, 12, (3, size, size))
        return noisy.transpose(1, 2, 0)

    def glyph(rng: np.random.Generator) -> Glyph:
        kind = int(rng.integers(len(indices)))
        digit = source.pixels[int(rng.choice(indices[kind])), 0]
        return Glyph(_resized(digit, int(rng.integers(*_SIZES))), kind + 1)

    painter = ScenePainter(background, glyph, digits=(2, 4), ink=_INK)
    painted = [painter.paint(rng) for _ in range(count)]
    images = [
        np.ascontiguousarray(canvas.transpose(2, 0, 1).round().clip(0, 255).astype(np.uint8))
        for canvas, _ in painted
    ]
    return images, [mask for _, mask in painted]


def _resized(digit: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
    grey = torch.from_numpy(digit.astype(np.float64))[None, None]
    resized: NDArray[np.float64] = functional.interpolate(grey, size=(size, size), mode="bilinear")[0, 0].numpy()
    return resized
