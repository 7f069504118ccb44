"""`Preprocess` on Pillow pictures: geometry here, in 8 bits; mean and deviation inside the network's graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.data.digit import DIGIT_LOOK, find_digit
from foveal.values import Preprocess

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

#: Looks at one picture: name → what is done after the geometry.
VIEWS = ("plain", "mirror")


#: The audit looks at pictures this large (short side, pixels): none is shrunk further while it is decoded.
LOOK = 224
#: A short side that no picture reaches: none is shrunk.
EVERY_PIXEL = 1 << 30


def shrink_limit(preprocess: Preprocess) -> int:
    """How far a picture may be shrunk while it is decoded: its short side, pixels (see `decode`)."""
    if preprocess.resize == "digit":
        return DIGIT_LOOK
    if preprocess.scale:
        return EVERY_PIXEL
    side = round(preprocess.size / preprocess.crop_share) if preprocess.resize == "crop" else max(preprocess.box)
    return max(LOOK, side)


def render(picture: Image.Image, preprocess: Preprocess) -> NDArray[np.uint8]:
    """An RGB picture as a network's input, `(size, size, channels)`, 8 bits, not yet normalised.

    By `fit` it is `(h, w, channels)` as `fitted` says: what is left of the box is for the caller to fill.
    """
    if preprocess.resize == "digit":
        return find_digit(np.asarray(picture.convert("L")), preprocess.size)[:, :, None]
    square = _square(picture, preprocess)
    return np.asarray(square) if preprocess.channels == 3 else np.asarray(square.convert("L"))[:, :, None]


def _square(picture: Image.Image, preprocess: Preprocess) -> Image.Image:
    size, resampling = preprocess.size, _FILTERS[preprocess.interpolation]
    width, height = picture.size
    if preprocess.resize == "fit":
        square = resized_to(fitted(picture.size, preprocess), picture, preprocess)
    elif preprocess.resize == "squash":
        square = picture.resize((size, size), resampling, reducing_gap=3.0)
    elif preprocess.resize == "pad":
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        square = Image.new("RGB", (size, size), preprocess.background)
        resized = picture.resize(inner, resampling, reducing_gap=3.0)
        square.paste(resized, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    else:
        scale = size / preprocess.crop_share / min(width, height)
        resized = picture.resize(
            (max(size, round(width * scale)), max(size, round(height * scale))), resampling, reducing_gap=3.0
        )
        left, top = (resized.width - size) // 2, (resized.height - size) // 2
        square = resized.crop((left, top, left + size, top + size))
    return square


def fitted(size: tuple[int, int], preprocess: Preprocess, *, boxed: bool = False) -> tuple[int, int]:
    """Width and height that `fit` makes of a picture's.

    Args:
        size: width and height of the picture.
        preprocess: with `fit`.
        boxed: whether what `scale` makes larger than the box is made smaller.
    """
    width, height = size
    bounded = min(preprocess.box[0] / height, preprocess.box[1] / width)
    scale = preprocess.scale or bounded
    if boxed:
        scale = min(scale, bounded)
    return max(1, round(width * scale)), max(1, round(height * scale))


def resized_to(size: tuple[int, int], picture: Image.Image, preprocess: Preprocess) -> Image.Image:
    """A picture at this width and height."""
    if size == picture.size:
        return picture
    return picture.resize(size, _FILTERS[preprocess.interpolation], reducing_gap=3.0)


def seen_as(pixels: NDArray[Any], view: str) -> NDArray[Any]:
    """A batch `(N, H, W, C)` as one of `VIEWS`."""
    if view == "plain":
        return pixels
    if view == "mirror":
        return np.ascontiguousarray(pixels[:, :, ::-1])
    raise ValueError(f"view {view!r} is none of {VIEWS}")
