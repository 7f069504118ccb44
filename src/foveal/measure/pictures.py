"""Pictures inside a page: small JPEGs as data URIs."""

from __future__ import annotations

import base64
import io

from PIL import Image

from foveal.data.decode import decode, read_file
from foveal.errors import UnreadableImage

_THUMB = 160


def thumbnail(path: str) -> str | None:
    """A picture, small, as a data URI; None when it is gone."""
    try:
        picture = decode(read_file(path), path, shrink_to=_THUMB)
    except UnreadableImage:
        return None
    picture.thumbnail((_THUMB, _THUMB))
    return as_data_uri(picture)


def as_data_uri(picture: Image.Image) -> str:
    """A JPEG inside the page."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
