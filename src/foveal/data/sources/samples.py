"""The data sets that ship inside the package: `sample:NAME`."""

from __future__ import annotations

import shutil
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from foveal.data.sources.cached_folder import written_whole
from foveal.data.sources.digit_scenes import VERSION, write_scenes
from foveal.errors import UnknownName
from foveal.files import cache_dir, sha256_of

_PACKED = (".zip", ".tar.xz")


def sample_names() -> list[str]:
    """The names of all samples."""
    return sorted([*_archives(), *_MADE])


def _archives() -> dict[str, Traversable]:
    folder = resources.files("foveal") / "samples"
    return {f.name.removesuffix(end): f for f in folder.iterdir() for end in _PACKED if f.name.endswith(end)}


def unpack(name: str) -> Path:
    """The folder of a sample, unpacked into the cache on first use.

    Raises:
        UnknownName: with the nearest known name.
    """
    archives = _archives()
    if name in _MADE:
        return _MADE[name]()
    if name not in archives:
        raise UnknownName("sample", name, sample_names())
    with resources.as_file(archives[name]) as archive:
        folder = cache_dir() / "samples" / f"{name}-{sha256_of(archive)[:12]}"
        if not folder.is_dir():
            with written_whole(folder) as part:
                if archive.name.endswith(".zip"):
                    shutil.unpack_archive(archive, part)
                else:
                    shutil.unpack_archive(archive, part, filter="data")
    return folder


def _digit_scenes() -> Path:
    folder = cache_dir() / "samples" / f"digit-scenes-{VERSION}"
    if not folder.is_dir():
        with written_whole(folder) as part:
            write_scenes(unpack("mnist"), part)
    return folder


#: Samples that are generated from others.
_MADE = {"digit-scenes": _digit_scenes}
