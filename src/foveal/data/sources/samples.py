"""The data sets that ship inside the package: `sample:NAME`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from foveal.data.sources.cached_folder import CacheNotWritable, written_whole
from foveal.data.sources.digit_scenes import VERSION, write_scenes
from foveal.errors import UnknownName
from foveal.files import cache_dir, cannot_write, process_folder, sha256_of

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

        def fill(part: Path) -> None:
            if archive.name.endswith(".zip"):
                shutil.unpack_archive(archive, part)
            else:
                shutil.unpack_archive(archive, part, filter="data")

        return _made(f"{name}-{sha256_of(archive)[:12]}", fill)


def _made(name: str, fill: Callable[[Path], object]) -> Path:
    """A folder of the cache, filled once; where that can't be written, one that lasts as long as this process."""
    folder = cache_dir() / "samples" / name
    if folder.is_dir():
        return folder
    try:
        with written_whole(folder) as part:
            fill(part)
        return folder
    except CacheNotWritable as error:
        cannot_write(error)
    elsewhere = process_folder() / name
    if not elsewhere.is_dir():
        with written_whole(elsewhere) as part:
            fill(part)
    return elsewhere


def _digit_scenes() -> Path:
    return _made(f"digit-scenes-{VERSION}", lambda part: write_scenes(unpack("mnist"), part))


#: Samples that are generated from others.
_MADE = {"digit-scenes": _digit_scenes}
