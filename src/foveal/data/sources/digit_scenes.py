"""Scenes of handwritten digits with a class for each pixel, and `sample:digit-scenes`, which is made of them.

The sample is made from `sample:mnist` when it is first requested and is always the same. Its digits vary in size
and colour and may touch the edge; ink has the class of its digit, everything else is background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.data.images.idx import find_pairs, read_pair

#: Part of the sample's folder name in the cache: change it whenever the scenes change.
VERSION = "1"
COUNT = 320
WIDTH, HEIGHT = 128, 96
#: Pixels of a digit brighter than this are ink.
INK = 95
_SCALE = (0.8, 1.7)

#: `(H, W, 3)`, grey levels from 0 to 255.
Canvas = NDArray[np.floating]
Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Glyph:
    """A digit to be placed in a scene.

    Attributes:
        pixels: `(S, S)`, grey levels from 0 to 255, at its size in the scene.
        label: its class in the mask.
        colour: `(3,)`; None draws one once there is room for the digit.
    """

    pixels: NDArray[np.floating] | NDArray[np.uint8]
    label: int
    colour: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class ScenePainter:
    """Places digits on a background, without overlap.

    Attributes:
        background: random generator → the canvas `(H, W, 3)`.
        glyph: random generator → the next digit.
        digits: fewest and most digits in a scene.
        ink: pixels of a digit brighter than this belong to its class.
        attempts: random places tried for each digit; it is left out when all of them overlap another one.
    """

    background: Callable[[np.random.Generator], Canvas]
    glyph: Callable[[np.random.Generator], Glyph]
    digits: tuple[int, int]
    ink: int
    attempts: int = 1

    def paint(self, rng: np.random.Generator) -> tuple[Canvas, Mask]:
        """A scene `(H, W, 3)` and its mask `(H, W)`, where 0 is the background."""
        canvas = self.background(rng)
        mask = np.zeros(canvas.shape[:2], dtype=np.uint8)
        for _ in range(rng.integers(*self.digits, endpoint=True)):
            self._place(canvas, mask, self.glyph(rng), rng)
        return canvas, mask

    def _place(self, canvas: Canvas, mask: Mask, glyph: Glyph, rng: np.random.Generator) -> None:
        size, (height, width) = len(glyph.pixels), mask.shape
        ink = glyph.pixels > self.ink
        for _ in range(self.attempts):
            top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
            place = slice(top, top + size), slice(left, left + size)
            if not mask[place][ink].any():
                colour = rng.uniform(150, 255, 3) if glyph.colour is None else glyph.colour
                alpha = glyph.pixels[..., None].astype(canvas.dtype) / 255
                canvas[place] = canvas[place] * (1 - alpha) + colour * alpha
                mask[place][ink] = glyph.label
                return


def write_scenes(mnist: Path, folder: Path, count: int = COUNT) -> None:
    """Write `images/`, `masks/` and `classes.txt` into a folder.

    Args:
        mnist: the folder of the IDX files.
        folder: the target, to be created.
        count: number of scenes.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for name, image, mask in scenes(mnist, count):
        image.save(folder / "images" / f"{name}.png")
        mask.save(folder / "masks" / f"{name}.png")
    (folder / "classes.txt").write_text("background\n" + "\n".join(map(str, range(10))) + "\n", encoding="utf-8")


def scenes(mnist: Path, count: int) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """Name, image and mask of each scene; scene number n is the same for every `count`."""
    pair = next(p for p in find_pairs(str(mnist)) if p.subset == "train")
    digits, labels = read_pair(pair)

    def glyph(rng: np.random.Generator) -> Glyph:
        chosen = int(rng.integers(len(digits)))
        size = round(28 * rng.uniform(*_SCALE))
        pixels = np.asarray(Image.fromarray(digits[chosen]).resize((size, size), Image.Resampling.BICUBIC))
        return Glyph(pixels, int(labels[chosen]) + 1, rng.uniform(150, 255, 3).astype(np.float32))

    painter = ScenePainter(_background, glyph, digits=(3, 6), ink=INK, attempts=20)
    for number in range(count):
        rng = np.random.default_rng([20, number])
        canvas, mask = painter.paint(rng)
        noisy = np.clip(canvas + rng.normal(0, 5, canvas.shape), 0, 255).astype(np.uint8)
        yield f"scene-{number:04d}", Image.fromarray(noisy), Image.fromarray(mask)


def _background(rng: np.random.Generator) -> NDArray[np.float32]:
    """Soft patches of colour, darker than the ink."""
    coarse = Image.fromarray(rng.integers(0, 130, (4, 6, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.float32).copy()
