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
#: Hash and thumb are made from images of this short side; twice as large ones are reduced.
_SMALL_SIDE = 64
#: Larger images are measured alone: stacking them saves nothing, and takes memory.
_STACKED_PIXELS = 128 * 128

_Pixels = NDArray[np.uint8]


def is_stacked(image: Image.Image) -> bool:
    """Whether images of this size can be given to `measure` together."""
    return image.width * image.height <= _STACKED_PIXELS and min(image.size) < 2 * _SMALL_SIDE


def measure(images: Sequence[Image.Image]) -> list[dict[str, Any]]:
    """Of each image the fields `phash`, `thumb`, `brightness`, `contrast` and `sharpness` of its record.

    Args:
        images: RGB, all of one size; several only when `is_stacked`.
    """
    count, enough = len(images), min(images[0].size) >= NEAR_FROM
    grey = _stacked(images).convert("L")
    mean, deviation, sharpness = measure_levels(_unstacked(_shrunk(grey, _LAPLACIAN_SIDE, count), count))
    hashes, thumbs = [0] * count, [b""] * count
    if enough:
        hashes = _hashes(_to_hash(_shrunk(grey, _SMALL_SIDE, count), count))
        thumbs = [_thumb(_shrunk(image, _SMALL_SIDE)) for image in images]
    return [
        {"phash": phash, "thumb": thumb, "brightness": bright, "contrast": contrast, "sharpness": sharp}
        for phash, thumb, bright, contrast, sharp in zip(
            hashes, thumbs, mean.tolist(), deviation.tolist(), sharpness.tolist(), strict=True
        )
    ]


def _stacked(images: Sequence[Image.Image]) -> Image.Image:
    """One image with all of them below each other."""
    if len(images) == 1:
        return images[0]
    width, height = images[0].size
    stack = Image.new("RGB", (width, height * len(images)))
    for i, image in enumerate(images):
        stack.paste(image, (0, i * height))
    return stack


def _unstacked(stack: Image.Image, count: int) -> _Pixels:
    """The grey images of a stack, `(count, height, width)`."""
    return np.asarray(stack).reshape(count, -1, stack.width)


def _shrunk(image: Image.Image, short_side: int, count: int = 1) -> Image.Image:
    """At most `short_side` on the short side, by averaging; never enlarged. Stacked images are small enough."""
    factor = min(image.size) // short_side if count == 1 else 1
    return image.reduce(factor) if factor > 1 else image


def _thumb(rgb: Image.Image) -> bytes:
    return rgb.resize((_THUMB, _THUMB), Image.Resampling.BOX).tobytes()


def _to_hash(grey: Image.Image, count: int) -> _Pixels:
    """The grey images of a stack as `phash` resizes them, `(count, 32, 32)`.

    Each is resized alone: its edge must not see its neighbour, and whether Pillow begins with the rows or with the
    columns, and rounds in between, depends on the shape.
    """
    height = grey.height // count
    if (grey.width, height) == (_HASHED, _HASHED):
        return _unstacked(grey, count)
    tops = range(0, grey.height, height)
    images = [grey.crop((0, top, grey.width, top + height)) for top in tops] if count > 1 else [grey]
    return np.stack([np.asarray(image.resize((_HASHED, _HASHED), Image.Resampling.LANCZOS)) for image in images])


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
