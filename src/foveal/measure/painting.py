"""Masks as pictures that a person can read: colours that can be told apart, laid over the photograph."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.metrics.segmentation import VOID
from foveal.values import Legend

Mask = NDArray[np.uint8]
Colours = NDArray[np.uint8]

#: Okabe and Ito's colours, which people who see few colours can tell apart, and two more.
_COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
    (120, 94, 240), (100, 220, 60),
)  # fmt: skip
_BACKGROUND = ("background", "_background_", "bg")
#: How strongly the colours cover the photograph.
_STRENGTH = 0.55
_GREY = 150


def colours_of(legend: Legend) -> Colours:
    """A colour for each class, `(K, 3)`: the user's own where there are some, a background in dark grey."""
    if legend.colours:
        return np.array(legend.colours, dtype=np.uint8)
    count = len(legend.classes)
    more = max(0, count - len(_COLOURS))
    wheel = [colorsys.hsv_to_rgb((0.07 + 0.381966 * i) % 1, 0.55 + 0.3 * (i % 2), 0.9) for i in range(more)]
    rows = [*_COLOURS, *(tuple(round(255 * v) for v in c) for c in wheel)]
    first = legend.classes[0].lower() in _BACKGROUND
    rows = [(70, 70, 70), *rows] if first else rows
    return np.array(rows[:count], dtype=np.uint8)


def painted(picture: Image.Image, mask: Mask, colours: Colours) -> Image.Image:
    """The photograph in the colours of its classes, with a line where they meet; void stays as it was, in grey.

    Args:
        picture: of any size; drawn at it.
        mask: `(H, W)`, positions in the colours, or void.
        colours: `(K, 3)`.
    """
    if mask.shape != (picture.height, picture.width):
        mask = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    known = mask != VOID
    table = np.zeros((256, 3), dtype=np.float32)
    table[: len(colours)] = colours
    laid = pixels * (1 - _STRENGTH) + table[mask] * _STRENGTH
    grey = np.repeat(0.5 * pixels.mean(axis=2, keepdims=True) + 0.5 * _GREY, 3, axis=2)
    result = np.where(known[..., None], laid, grey)
    result[_meets(mask)] = 255
    return Image.fromarray(np.rint(result).astype(np.uint8))


def plain(mask: Mask, colours: Colours) -> Image.Image:
    """The mask alone, in its colours; void is grey."""
    table = np.full((256, 3), _GREY, dtype=np.uint8)
    table[: len(colours)] = colours
    return Image.fromarray(table[mask])


def _meets(mask: Mask) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour is of another class."""
    edge = np.zeros(mask.shape, dtype=bool)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    return edge


def as_hex(colour: NDArray[np.uint8]) -> str:
    """`#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour.tolist())
