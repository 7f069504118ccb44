"""The figures of decoded images: perceptual hash, thumb, grey levels, sharpness.

For an image of 32 × 32 pixels a call of Pillow or numpy takes longer than its work on the pixels. So small images
of one size are stacked and measured together, with the same figures, bit for bit, as each alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Images with a shorter short side, pixels, are not searched for near-duplicates: they show too little to tell the
#: digits of one writer apart, for example. Exact copies are found at any size.
NEAR_FROM = 32

_THUMB = 16
_LAPLACIAN_SIDE = 128
#: Of imagehash's `phash`: sides of the grey image and of the part of its cosine transform that is kept.
_HASHED, _KEPT = 32, 8
_REDUCED_FROM = 128
#: Larger images are measured alone: stacking them saves nothing, and takes memory.
_STACKED_PIXELS = 128 * 128

_Pixels = NDArray[np.uint8]


def is_stacked(image: Image.Image) -> bool:
    """Whether images of this size can be given to `measure` together."""
    return image.width * image.height <= _STACKED_PIXELS and min(image.size) < _REDUCED_FROM


def measure(images: Sequence[Image.Image]) -> list[dict[str, Any]]:
    """Of each image the fields `phash`, `thumb`, `brightness`, `contrast` and `sharpness` of its record.

    Args:
        images: RGB, all of one size; several only when `is_stacked`.
    """
    count, enough = len(images), min(images[0].size) >= NEAR_FROM
    rgb = images[0] if count == 1 else _stacked(images)
    grey = rgb.convert("L")
    mean, deviation, sharpness = measure_levels(_unstacked(_shrunk(grey, _LAPLACIAN_SIDE, count), count))
    hashes, thumbs = [0] * count, [b""] * count
    if enough:
        hashes = _hashes(_resized(_shrunk(grey, 64, count), count, _HASHED, Image.Resampling.LANCZOS))
        small = _resized(_shrunk(rgb, 64, count), count, _THUMB, Image.Resampling.BOX)
        thumbs = [thumb.tobytes() for thumb in small]
    return [
        {"phash": phash, "thumb": thumb, "brightness": bright, "contrast": contrast, "sharpness": sharp}
        for phash, thumb, bright, contrast, sharp in zip(
            hashes, thumbs, mean.tolist(), deviation.tolist(), sharpness.tolist(), strict=True
        )
    ]


def _stacked(images: Sequence[Image.Image]) -> Image.Image:
    """One image with all of them below each other."""
    width, height = images[0].size
    stack = Image.new("RGB", (width, height * len(images)))
    for i, image in enumerate(images):
        stack.paste(image, (0, i * height))
    return stack


def _unstacked(stack: Image.Image, count: int) -> _Pixels:
    """The images of a stack, `(count, height, width)`, of RGB `(count, height, width, 3)`."""
    pixels = np.asarray(stack)
    return pixels.reshape(count, -1, *pixels.shape[1:])


def _shrunk(stack: Image.Image, short_side: int, count: int) -> Image.Image:
    """An image at most `short_side` on the short side, by averaging; never enlarged. Stacked ones stay as they are."""
    factor = min(stack.size) // short_side if count == 1 else 1
    return stack.reduce(factor) if factor > 1 else stack


def _resized(stack: Image.Image, count: int, side: int, resampling: Image.Resampling) -> _Pixels:
    """The images of a stack as squares, `(count, side, side, …)`.

    Each is resized alone: whether Pillow begins with the rows or with the columns, and rounds in between, depends on
    the shape.
    """
    height = stack.height // count
    if (stack.width, height) == (side, side):
        return _unstacked(stack, count)
    tops = range(0, stack.height, height)
    images = [stack.crop((0, top, stack.width, top + height)) for top in tops] if count > 1 else [stack]
    return np.stack([np.asarray(image.resize((side, side), resampling)) for image in images])


def _hashes(pixels: _Pixels) -> list[int]:
    """What imagehash's `phash` gives for grey images `(N, 32, 32)`, as integers of 64 bits."""
    from scipy.fft import dct  # only when something is measured: most audits read the record cache

    low = dct(dct(pixels, axis=1), axis=2)[:, :_KEPT, :_KEPT].reshape(len(pixels), -1)
    bits = np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)
    hashes: list[int] = bits.view(">u8")[:, 0].tolist()
    return hashes


def measure_levels(grey: _Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each image's grey levels `(N, H, W)`, and the variance of their Laplacian.

    The Laplacian is that of 4 neighbours (Pech-Pacheco 2000); 0 for images under 3 pixels.
    """
    levels = grey.astype(np.float32)
    flat = levels.reshape(len(levels), -1)
    mean, deviation = flat.mean(axis=1), flat.std(axis=1)
    if min(grey.shape[1:]) < 3:
        return mean, deviation, np.zeros(len(grey), dtype=np.float32)
    inner = levels[:, 1:-1, 1:-1] * -4
    inner += levels[:, :-2, 1:-1]
    inner += levels[:, 2:, 1:-1]
    inner += levels[:, 1:-1, :-2]
    inner += levels[:, 1:-1, 2:]
    return mean, deviation, inner.reshape(len(inner), -1).var(axis=1)
