"""Images inside a page: small JPEGs as data URIs."""

from __future__ import annotations

import base64
import io

from PIL import Image

from foveal.data.images.decode import decode, read_file
from foveal.errors import UnreadableImage

_THUMB = 160


def thumbnail(path: str, side: int = _THUMB) -> str | None:
    """A small version of an image as a data URI; None when the file is gone.

    Args:
        path: of the image.
        side: of the square that it fits into, pixels.
    """
    try:
        image = decode(read_file(path), path, shrink_to=side)
    except UnreadableImage:
        return None
    image.thumbnail((side, side))
    return as_data_uri(image)


def as_data_uri(image: Image.Image) -> str:
    """An image as a JPEG in a data URI."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
