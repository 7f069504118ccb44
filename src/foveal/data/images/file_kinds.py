"""What a file's name says about whether it is an image; no file is opened."""

from __future__ import annotations

import os

#: Files that operating systems leave in folders.
_CLUTTER = {"thumbs.db", "desktop.ini", "icon\r"}
#: Files among images that are skipped as `not_a_picture` without being read.
_OTHER = {
    *(".txt", ".csv", ".json", ".jsonl", ".xml", ".md", ".html"),
    *(".yaml", ".yml", ".py", ".zip", ".db", ".ini"),
}
#: The usual endings of images.
_IMAGES = {
    *(".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif"),
    *(".jp2", ".ppm", ".pgm", ".tga", ".ico", ".jfif"),
}


def may_be_image(path: str) -> bool:
    """Whether a file's name allows it to be an image."""
    name = os.path.basename(path).lower()
    return name not in _CLUTTER and os.path.splitext(name)[1] not in _OTHER


def is_named_as_image(path: str) -> bool:
    """Whether a file has the usual ending of an image."""
    return os.path.splitext(path)[1].lower() in _IMAGES
