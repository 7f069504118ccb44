"""Arrays and tensors as images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.errors import UsageError

_CHANNELS = (1, 3, 4)


def from_pixels(values: Any, name: str) -> Image.Image:  # noqa: ANN401
    """An array or a tensor as an image; values are kept, never clipped.

    Args:
        values: `(H, W)`, `(H, W, C)` or `(C, H, W)` with C of 1, 3 or 4; a torch tensor of three dimensions is read as
            `(C, H, W)`, an array as `(H, W, C)` where both are possible. 8 bits as they are, other integers from 0 to
            255, 16 bits unsigned from 0 to 65535, floats from 0 to 1, truth values.
        name: of the image, for messages.

    Raises:
        UsageError: for any other shape, type or range.
    """
    is_tensor = hasattr(values, "detach")
    array = np.asarray(values.detach().cpu() if is_tensor else values)
    return Image.fromarray(_eight_bits(_channels_last(array, name, is_tensor), name))


def _channels_last(array: NDArray[Any], name: str, channels_first: bool) -> NDArray[Any]:
    """`(H, W)`, `(H, W, 3)` or `(H, W, 4)`."""
    if array.ndim == 3:
        first, last = array.shape[0] in _CHANNELS, array.shape[2] in _CHANNELS
        if first and (channels_first or not last):
            array = array.transpose(1, 2, 0)
        if array.shape[2] == 1:
            array = array[:, :, 0]
    if 0 in array.shape or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS):
        raise UsageError(
            f"{name}: not an image: an array of shape {array.shape}", hint="give (H, W), (H, W, C) or (C, H, W)"
        )
    return array


def _eight_bits(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    kind, top = array.dtype.kind, 255.0
    if kind in "bf":
        top = 1.0
    elif array.dtype == np.uint16:
        top = 65535.0
    elif kind not in "iu":
        raise UsageError(f"{name}: not an image: an array of {array.dtype}", hint="give numbers")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= top):  # also not a number
        raise UsageError(
            f"{name}: pixels from {low:g} to {high:g}, where 0 to {top:g} is expected of {array.dtype}",
            hint="give the images before they are normalised; foveal does that itself",
        )
    eight: NDArray[np.uint8] = np.rint(array * (255.0 / top)).astype(np.uint8)
    return eight
