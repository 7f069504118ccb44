"""Arrays and tensors: which hold one image, which hold many, and which hold names of files.

| dimensions | meaning |
| --- | --- |
| 2 | one grey image `(H, W)` |
| 3 | one image with channels, `(H, W, C)` or `(C, H, W)`; where neither end has 1, 3 or 4 values: grey `(N, H, W)` |
| 4 | N images, `(N, H, W, C)` or `(N, C, H, W)` |

Where both ends could be the channels, those of a torch tensor come first, and those of any other array last, as both
libraries have it; see `arrays.from_pixels`. An array of three dimensions is N grey images wherever that is known
already: in `fit`, which takes many images, and afterwards in `predict` of the same estimator.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.errors import UsageError

CHANNELS = (1, 3, 4)


@runtime_checkable
class SupportsArray(Protocol):
    """A NumPy array, a torch tensor on any device, or anything else that NumPy makes an array of."""

    def __array__(self) -> NDArray[np.generic]:
        """As a NumPy array."""
        ...


def is_array(value: object) -> TypeGuard[SupportsArray]:
    """Whether a value is an array or a tensor: not an image of Pillow, nor a name as NumPy's `str_`."""
    return isinstance(value, SupportsArray) and not isinstance(value, Image.Image | str | bytes | os.PathLike)


def split_array(values: SupportsArray, *, grey: bool = False) -> Sequence[SupportsArray | str | os.PathLike[str]]:
    """The images that an array holds, each an array, or the names of files.

    Args:
        values: see the table above; or names, `(N,)` or `(N, 1)`.
        grey: three dimensions are N grey images.

    Raises:
        UsageError: for another number of dimensions, or neither numbers nor names.
    """
    array = as_numpy_or_tensor(values)
    shape = tuple(array.shape)
    if isinstance(array, np.ndarray) and array.dtype.kind in "UOT":
        if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
            return [str(v) if isinstance(v, np.str_) else v for v in array.ravel()]
        raise UsageError(f"names in an array of shape {shape}", hint="give one name for each image: (N,)")
    if isinstance(array, np.ndarray) and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UsageError("the images contain NaN or infinity", hint="give floats from 0 to 1")
    if len(shape) == 4 or (len(shape) == 3 and (grey or not {shape[0], shape[2]} & set(CHANNELS))):
        return [array[i] for i in range(shape[0])]
    if len(shape) not in (2, 3):
        raise UsageError(
            f"an array of shape {shape} is not an image, and not several",
            hint="give (H, W), (H, W, C), (C, H, W), (N, H, W), (N, H, W, C) or (N, C, H, W), with C of 1, 3 or 4",
        )
    return [array]


def as_numpy_or_tensor(values: SupportsArray) -> NDArray[np.generic]:
    """A tensor in the memory of the processor, as a type that NumPy knows; anything else as a NumPy array."""
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        return tensor.float() if tensor.is_floating_point() else tensor  # type: ignore[no-any-return]
    return np.asarray(values)
