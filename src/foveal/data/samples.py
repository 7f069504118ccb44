"""The picture sets that ship inside the package: `sample:NAME`."""

from __future__ import annotations

import shutil
import zipfile
from importlib import resources
from pathlib import Path

from foveal.errors import UnknownName
from foveal.files import cache_dir, sha256_of


def sample_names() -> list[str]:
    """The names of all samples."""
    folder = resources.files("foveal") / "samples"
    return sorted(f.name.removesuffix(".zip") for f in folder.iterdir() if f.name.endswith(".zip"))


def unpack(name: str) -> Path:
    """The folder of a sample, unpacked into the cache when it is not there yet.

    Raises:
        UnknownName: with the nearest known name.
    """
    if name not in sample_names():
        raise UnknownName("sample", name, sample_names())
    with resources.as_file(resources.files("foveal") / "samples" / f"{name}.zip") as archive:
        folder = cache_dir() / "samples" / f"{name}-{sha256_of(archive)[:12]}"
        if not folder.is_dir():
            part = folder.with_name(f".{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(part)
            try:
                part.rename(folder)
            except OSError:  # another process was quicker
                shutil.rmtree(part, ignore_errors=True)
    return folder
