"""PICTURES of `foveal label`: every image below a folder, whatever its folders are called; nothing is opened."""

from __future__ import annotations

import os

from foveal.data.sources.archives import is_archive, unpack_archive
from foveal.data.sources.listing import Listing, short_name, walk
from foveal.data.sources.samples import unpack
from foveal.data.targets.labels import Labels
from foveal.errors import URL_HINT, DataError, is_url

_SAMPLE = "sample:"


def list_unlabelled(images: str | os.PathLike[str]) -> Listing:
    """Name every image below a folder, sorted by path, without labels.

    Args:
        images: a folder, a zip or tar file, or `sample:NAME`.

    Raises:
        DataError: when it does not exist, is of another form, or holds no image by name.
        UnknownName: for a sample that does not exist.
    """
    text = os.fspath(images)
    if is_url(text):
        raise DataError(f"{text} is a URL, and foveal does not download it", hint=URL_HINT)
    path = str(unpack(text.removeprefix(_SAMPLE))) if text.startswith(_SAMPLE) else text
    if is_archive(path):
        path = str(unpack_archive(path))
    if not os.path.isdir(path):
        what = "not a folder" if os.path.exists(path) else "no such folder"
        raise DataError(f"{text}: {what}", hint="give a folder of images, or a zip or tar file of them")
    root = os.path.abspath(path)
    listing = Listing(short_name(path), root, Labels())
    walk(listing, root, None, None)
    listing.entries.sort(key=lambda entry: entry.path)
    if not listing.entries:
        raise DataError(f"{text}: no image in it", hint="give the folder that the images are in")
    return listing
