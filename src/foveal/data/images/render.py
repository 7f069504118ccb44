"""`Preprocess` on Pillow images: the geometry, in 8 bits; mean and standard deviation are part of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.data.images.digit import DIGIT_SIDE, find_digit
from foveal.values import Preprocess, View

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def resampling_of(preprocess: Preprocess) -> Image.Resampling:
    """Pillow's filter for the interpolation."""
    return _FILTERS[preprocess.interpolation]


#: Views of an image that have a geometry of their own, whatever the preprocessing says: name → how it differs.
GEOMETRIES: dict[View, dict[str, Any]] = {
    "squash": {"resize": "squash"},
    "pad": {"resize": "pad"},
    "centre": {"resize": "crop", "crop_share": 1.0},
    "crop": {"resize": "crop", "crop_share": 0.875},
}

#: The audit measures images at this short side, pixels: none is shrunk further while it is decoded.
AUDIT_SIDE = 224
#: A short side above that of any image: none is shrunk.
EVERY_PIXEL = 1 << 30


def shrink_limit(preprocess: Preprocess) -> int:
    """How far an image may be shrunk while it is decoded: its short side, pixels (see `decode`).

    The same for all geometries: a view is the same to the bit whichever others are rendered with it.
    """
    if preprocess.resize == "digit":
        return DIGIT_SIDE
    if preprocess.scale:
        return EVERY_PIXEL
    share = min(preprocess.crop_share, *(g.get("crop_share", 1.0) for g in GEOMETRIES.values()))
    side = max(preprocess.box) if preprocess.resize == "fit" else round(preprocess.size / share)
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


def without_geometry(preprocess: Preprocess, view: View) -> tuple[Preprocess, View]:
    """The same view as `plain` or `mirror`, under a preprocessing with its geometry."""
    if view in GEOMETRIES:
        return replace(preprocess, **GEOMETRIES[view]), "plain"
    return preprocess, view


def render_views(image: Image.Image, preprocess: Preprocess, views: Sequence[View]) -> NDArray[np.uint8]:
    """Views of an RGB image as a network's input, `(V, size, size, channels)`; see `render`."""
    plain = {p: render(image, p) for p in {without_geometry(preprocess, v)[0] for v in views}}
    return np.stack([turned(plain[p], v) for p, v in (without_geometry(preprocess, v) for v in views)])


def turned(pixels: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    """A rendered image `(H, W, C)`, mirrored where the view is."""
    return pixels[:, ::-1] if view == "mirror" else pixels
