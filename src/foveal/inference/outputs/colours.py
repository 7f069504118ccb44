"""Masks as images that a person can read: colours that can be told apart, laid over the photograph."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.inference.outputs.drawing import PALETTE
from foveal.metrics.segmentation import VOID
from foveal.values import LabelMap

Mask = NDArray[np.uint8]
Colours = NDArray[np.uint8]

_BACKGROUND = ("background", "_background_", "bg")
#: How strongly the colours cover the photograph.
_STRENGTH = 0.55
_GREY = 150


def colours_of(label_map: LabelMap) -> Colours:
    """A colour for each class, `(K, 3)`: the user's own if there are any; a background is dark grey."""
    if label_map.colours:
        return np.array(label_map.colours, dtype=np.uint8)
    count = len(label_map.classes)
    more = max(0, count - len(PALETTE))
    wheel = [colorsys.hsv_to_rgb((0.07 + 0.381966 * i) % 1, 0.55 + 0.3 * (i % 2), 0.9) for i in range(more)]
    rows = [*PALETTE, *(tuple(round(255 * v) for v in c) for c in wheel)]
    first = label_map.classes[0].lower() in _BACKGROUND
    rows = [(70, 70, 70), *rows] if first else rows
    return np.array(rows[:count], dtype=np.uint8)


def painted(image: Image.Image, mask: Mask, colours: Colours) -> Image.Image:
    """The photograph in the colours of its classes, with a line between them; ignored pixels in grey.

    Args:
        image: of any size, which is that of the result.
        mask: `(H, W)`, positions in the colours, or the ignore index.
        colours: `(K, 3)`.
    """
    if mask.shape != (image.height, image.width):
        mask = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST))
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    known = mask != VOID
    table = np.zeros((256, 3), dtype=np.float32)
    table[: len(colours)] = colours
    coloured = pixels * (1 - _STRENGTH) + table[mask] * _STRENGTH
    grey = np.repeat(0.5 * pixels.mean(axis=2, keepdims=True) + 0.5 * _GREY, 3, axis=2)
    result = np.where(known[..., None], coloured, grey)
    result[_borders(mask)] = 255
    return Image.fromarray(np.rint(result).astype(np.uint8))


def _borders(mask: Mask) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour is of another class."""
    edge = np.zeros(mask.shape, dtype=bool)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    return edge


def as_hex(colour: NDArray[np.uint8]) -> str:
    """`#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour.tolist())
