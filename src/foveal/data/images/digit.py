"""One written character, from a scan or a phone photo of any size, in the format of MNIST.

MNIST's makers scaled each digit into a box of 20 × 20 pixels, kept its proportions, and laid it into
28 × 28 with its centre of mass in the middle, ink white on black (LeCun et al. 1998, "Gradient-based
learning applied to document recognition", section III). Real images have ink of either polarity, on paper with
grain and uneven light. So the light is estimated and removed, the ink is separated from the paper, specks and
strokes that enter from the edge are dropped, and thin strokes are widened.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Images are shrunk to this long side, pixels.
DIGIT_SIDE = 192
#: The digit's box and its least stroke, as shares of the result's side; MNIST's strokes are about 3 of 28 pixels.
BOX = 20 / 28
STROKE = 2.4 / 28
#: Ink must differ from the paper by this many times the paper's roughness, and by this many grey levels.
CLEAR, LEAST = 5.0, 12.0

_SPECK = 0.03  # of the largest stroke's ink
_EDGE = 0.04  # components this close to the edge, as a share of the side, may be shadows or neighbours


def find_digit(grey: NDArray[np.uint8], size: int = 28) -> NDArray[np.uint8]:
    """Grey levels `(H, W)` to a character as in MNIST, `(size, size)`; all black where there is no ink.

    An image that looks like MNIST already is returned unchanged.
    """
    if _has_form(grey, size):
        return grey
    ink = _ink(_reduced(grey))
    mask = _strokes(ink)
    if mask is None:
        return np.zeros((size, size), dtype=np.uint8)
    return _laid_out(ink, mask, size)


def _has_form(grey: NDArray[np.uint8], size: int) -> bool:
    if grey.shape != (size, size):
        return False
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return bool((edge < 64).mean() > 0.9 and grey.mean() < 110)


def _reduced(grey: NDArray[np.uint8]) -> Array:
    """At most `DIGIT_SIDE` on the long side; small images are enlarged, so that strokes can be measured."""
    longest = max(grey.shape)
    scale = DIGIT_SIDE / longest if longest > DIGIT_SIDE else max(1, 96 // longest)
    shape = (max(3, round(grey.shape[1] * scale)), max(3, round(grey.shape[0] * scale)))
    if shape == grey.shape[::-1]:
        return grey.astype(np.float32)
    filter = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(grey).resize(shape, filter), dtype=np.float32)


def _ink(grey: Array) -> Array:
    """How much each pixel differs from the paper in the ink's direction, in grey levels; 0 where there is none."""
    difference = grey - _paper(grey)
    roughness = 1.4826 * float(np.median(np.abs(difference - np.median(difference))))
    far = max(LEAST, CLEAR * roughness)
    darker, lighter = difference[difference < -far], difference[difference > far]
    sign = -1.0 if -darker.sum() >= lighter.sum() else 1.0
    ink = sign * difference
    return np.where(ink > far, ink, 0.0).astype(np.float32)


def _paper(grey: Array) -> Array:
    """The light on the paper: a smooth surface through everything but the ink.

    A quadratic in both directions is fitted to the pixels that remain after each round; pixels far off on either
    side are ink. A wide mean of the residuals takes up what a quadratic can't follow. Light is smooth, so every
    third pixel in each direction is enough.
    """
    from scipy import ndimage

    coarse = ndimage.uniform_filter(grey, 3)[1::3, 1::3] if min(grey.shape) >= 30 else grey
    height, width = coarse.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    values = coarse.reshape(-1)
    middle = np.median(values)
    inside = np.abs(values - middle) <= max(20.0, 2.0 * float(np.median(np.abs(values - middle))))
    surface = np.full_like(values, middle)
    for _ in range(6):
        if inside.sum() < 12:
            break
        some = terms[inside]
        surface = terms @ np.linalg.solve(some.T @ some + 1e-6 * np.eye(6), some.T @ values[inside])
        off = np.abs(values - surface)
        inside = off <= max(6.0, 2.5 * float(np.median(off)))
    rest = np.where(inside, values - surface, 0.0).reshape(coarse.shape)
    weight = inside.reshape(coarse.shape).astype(np.float64)
    reach = max(height, width) / 10
    smooth = ndimage.gaussian_filter(rest, reach) / np.maximum(ndimage.gaussian_filter(weight, reach), 0.05)
    paper = Image.fromarray((surface.reshape(coarse.shape) + smooth).astype(np.float32))
    whole: Array = np.asarray(paper.resize(grey.shape[::-1], Image.Resampling.BICUBIC), dtype=np.float32)
    return whole


def _strokes(ink: Array) -> Mask | None:
    """The pixels of the one character: the component with the most ink, and those near to it in ink; or None."""
    from scipy import ndimage

    if not ink.any():
        return None
    full = float(np.percentile(ink[ink > 0], 90))
    pieces, count = ndimage.label(ink > 0.35 * full, structure=np.ones((3, 3)))
    if count == 0:
        return None
    weights = ndimage.sum_labels(ink, pieces, np.arange(1, count + 1))
    places = ndimage.find_objects(pieces)
    inner = np.array([not _from_edge(p, ink.shape) for p in places])
    if (weights * inner).max() > 0.15 * weights.max():
        weights = weights * inner
    keep = 1 + np.flatnonzero(weights > _SPECK * weights.max())
    mask: Mask = np.isin(pieces, keep)
    return mask if mask.sum() >= 8 else None


def _from_edge(place: Any, shape: tuple[int, ...]) -> bool:  # noqa: ANN401
    """Whether a piece reaches the image's edge."""
    margins = [max(1, round(_EDGE * n)) for n in shape]
    return any(s.start < m or s.stop > n - m for s, m, n in zip(place, margins, shape, strict=True))


def _laid_out(ink: Array, mask: Mask, size: int) -> NDArray[np.uint8]:
    """The ink of a mask, scaled into the box, with its centre of mass in the middle."""
    from scipy import ndimage

    full = float(np.percentile(ink[mask], 60))
    near = ndimage.binary_dilation(mask, iterations=1)
    soft = np.where(near, np.clip(ink / max(full, 1.0), 0, 1), 0).astype(np.float32)
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    soft = soft[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = BOX * size
    scale = box / max(soft.shape)
    soft = _broadened(soft, STROKE * size / scale)
    scale = box / max(soft.shape)
    shape = (max(1, round(soft.shape[1] * scale)), max(1, round(soft.shape[0] * scale)))
    small = np.asarray(Image.fromarray(np.round(255 * soft).astype(np.uint8)).resize(shape, Image.Resampling.BOX))
    values = small.astype(np.float32) * min(2.0, 255.0 / max(1.0, float(np.percentile(small, 97))))
    return _centred(np.clip(values, 0, 255), size)


def _broadened(soft: Array, least: float) -> Array:
    """Strokes at least this many pixels wide; wider ones are unchanged."""
    from scipy import ndimage

    solid = np.pad(soft > 0.5, 1)
    if not solid.any():
        return soft
    ridge = ndimage.distance_transform_edt(solid)
    tops = ridge[(ridge == ndimage.maximum_filter(ridge, 3)) & solid]
    missing = least - (2 * float(np.median(tops)) - 1)
    reach = round(missing / 2)
    if reach < 1:
        return soft
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    broad: Array = ndimage.grey_dilation(np.pad(soft, reach), footprint=x * x + y * y <= reach * reach + 1)
    return broad


def _centred(values: Array, size: int) -> NDArray[np.uint8]:
    """On black, the centre of mass in pixel `size / 2`: that is where MNIST has it (14.0 of 0-27, measured)."""
    height, width = values.shape
    total = max(float(values.sum()), 1e-6)
    y = float((values.sum(axis=1) * np.arange(height)).sum()) / total
    x = float((values.sum(axis=0) * np.arange(width)).sum()) / total
    top = min(max(round(size / 2 - y), 0), size - height)
    left = min(max(round(size / 2 - x), 0), size - width)
    result = np.zeros((size, size), dtype=np.uint8)
    result[top : top + height, left : left + width] = np.round(values)
    return result
