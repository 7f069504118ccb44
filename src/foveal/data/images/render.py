"""`Preprocess` on Pillow images: the geometry, in 8 bits; mean and standard deviation are part of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.data.images.digit import DIGIT_SIDE, find_digit
from foveal.values import Preprocess

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def resampling_of(preprocess: Preprocess) -> Image.Resampling:
    """Pillow's filter for the interpolation."""
    return _FILTERS[preprocess.interpolation]


#: Looks at one picture: name → what is done after the geometry.
VIEWS = ("plain", "mirror")


#: The audit measures images at this short side, pixels: none is shrunk further while it is decoded.
AUDIT_SIDE = 224
#: A short side above that of any image: none is shrunk.
EVERY_PIXEL = 1 << 30


def shrink_limit(preprocess: Preprocess) -> int:
    """How far an image may be shrunk while it is decoded: its short side, pixels (see `decode`)."""
    if preprocess.resize == "digit":
        return DIGIT_SIDE
    if preprocess.scale:
        return EVERY_PIXEL
    side = round(preprocess.size / preprocess.crop_share) if preprocess.resize == "crop" else max(preprocess.box)
    return max(AUDIT_SIDE, side)


def render(image: Image.Image, preprocess: Preprocess) -> NDArray[np.uint8]:
    """An RGB image as a network's input, `(size, size, channels)`, 8 bits, not yet normalised.

    With `fit` it is `(h, w, channels)` as `fitted` returns: the caller fills the rest of the box.
    """
    if preprocess.resize == "digit":
        return find_digit(np.asarray(image.convert("L")), preprocess.size)[:, :, None]
    square = _square(image, preprocess)
    return np.asarray(square) if preprocess.channels == 3 else np.asarray(square.convert("L"))[:, :, None]


def _square(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    size, resampling = preprocess.size, _FILTERS[preprocess.interpolation]
    width, height = image.size
    if preprocess.resize == "fit":
        square = resized_to(fitted(image.size, preprocess), image, preprocess)
    elif preprocess.resize == "squash":
        square = image.resize((size, size), resampling, reducing_gap=3.0)
    elif preprocess.resize == "pad":
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        square = Image.new("RGB", (size, size), preprocess.background)
        resized = image.resize(inner, resampling, reducing_gap=3.0)
        square.paste(resized, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    else:
        scale = size / preprocess.crop_share / min(width, height)
        resized = image.resize(
            (max(size, round(width * scale)), max(size, round(height * scale))), resampling, reducing_gap=3.0
        )
        left, top = (resized.width - size) // 2, (resized.height - size) // 2
        square = resized.crop((left, top, left + size, top + size))
    return square


def fitted(size: tuple[int, int], preprocess: Preprocess, *, boxed: bool = False) -> tuple[int, int]:
    """Width and height of an image after `fit`.

    Args:
        size: width and height of the image.
        preprocess: with `fit`.
        boxed: whether an image that `scale` makes larger than the box is shrunk to it.
    """
    width, height = size
    bounded = min(preprocess.box[0] / height, preprocess.box[1] / width)
    scale = preprocess.scale or bounded
    if boxed:
        scale = min(scale, bounded)
    return max(1, round(width * scale)), max(1, round(height * scale))


def resized_to(size: tuple[int, int], image: Image.Image, preprocess: Preprocess) -> Image.Image:
    """An image resized to this width and height."""
    if size == image.size:
        return image
    return image.resize(size, _FILTERS[preprocess.interpolation], reducing_gap=3.0)


def apply_view(pixels: NDArray[Any], view: str) -> NDArray[Any]:
    """A batch `(N, H, W, C)` as one of `VIEWS`."""
    if view == "plain":
        return pixels
    if view == "mirror":
        return np.ascontiguousarray(pixels[:, :, ::-1])
    raise ValueError(f"view {view!r} is not one of {VIEWS}")
