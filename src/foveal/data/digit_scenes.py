"""`sample:digit-scenes`: several handwritten digits on an uneven ground, with a class for each pixel.

Made of `sample:mnist` when it is first asked for, always the same. Digits are larger or smaller than MNIST's, of
any colour, and may touch the edge; ink is a digit's own class, everything else background.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.data.idx import find_pairs, read_pair

#: Part of the name of its folder in the cache: another one when the scenes change.
VERSION = "1"
COUNT = 320
WIDTH, HEIGHT = 128, 96
#: Grey level of MNIST from which on a pixel is ink.
INK = 96
_DIGITS = (3, 6)
_SCALE = (0.8, 1.7)


def write_scenes(mnist: Path, folder: Path, count: int = COUNT) -> None:
    """Write `images/`, `masks/` and `classes.txt` into a folder.

    Args:
        mnist: the folder of the IDX files.
        folder: to be made.
        count: how many scenes.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for name, picture, mask in scenes(mnist, count):
        picture.save(folder / "images" / f"{name}.png")
        mask.save(folder / "masks" / f"{name}.png")
    (folder / "classes.txt").write_text("background\n" + "\n".join(map(str, range(10))) + "\n", encoding="utf-8")


def scenes(mnist: Path, count: int) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """Name, picture and mask of each scene; the first ones are the same however many there are."""
    pair = next(p for p in find_pairs(str(mnist)) if p.side == "train")
    digits, labels = read_pair(pair)
    for number in range(count):
        chance = np.random.default_rng([20, number])
        picture, mask = _ground(chance), np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        for _ in range(chance.integers(*_DIGITS, endpoint=True)):
            chosen = int(chance.integers(len(digits)))
            _put(picture, mask, digits[chosen], int(labels[chosen]), chance)
        noisy = np.clip(picture + chance.normal(0, 5, picture.shape), 0, 255).astype(np.uint8)
        yield f"scene-{number:04d}", Image.fromarray(noisy), Image.fromarray(mask)


def _ground(chance: np.random.Generator) -> NDArray[np.float32]:
    """Soft blobs of colour, darker than the ink."""
    coarse = Image.fromarray(chance.integers(0, 130, (4, 6, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.float32).copy()


def _put(
    picture: NDArray[np.float32],
    mask: NDArray[np.uint8],
    digit: NDArray[np.uint8],
    label: int,
    chance: np.random.Generator,
) -> None:
    """Draw one digit where there is room for it; nothing when there is none."""
    side = round(28 * chance.uniform(*_SCALE))
    grey = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC))
    colour = chance.uniform(150, 255, 3).astype(np.float32)
    for _ in range(20):
        top, left = int(chance.integers(HEIGHT - side + 1)), int(chance.integers(WIDTH - side + 1))
        place = slice(top, top + side), slice(left, left + side)
        ink = grey >= INK
        if not mask[place][ink].any():
            alpha = grey[..., None].astype(np.float32) / 255
            picture[place] = picture[place] * (1 - alpha) + colour * alpha
            mask[place][ink] = label + 1
            return
