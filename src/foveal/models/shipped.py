"""Models by name: `model:NAME` ships in the package, anything else is the path of a run folder or a bundle."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from foveal.errors import UnknownName

#: What the names of models in the package begin with.
PREFIX = "model:"


def shipped_folder(name: str) -> Path:
    """The folder of a model in the package.

    Args:
        name: with or without `model:`.

    Raises:
        UnknownName: with the nearest known name.
    """
    folder = Path(str(resources.files("foveal.models"))) / "shipped"
    known = sorted(f.name for f in folder.iterdir() if (f / "bundle.json").is_file())
    bare = name.removeprefix(PREFIX)
    if bare not in known:
        raise UnknownName("model", bare, known)
    return folder / bare


def model_path(name: str | os.PathLike[str]) -> Path:
    """The folder that `model:NAME` stands for; any other name is a path already.

    Raises:
        UnknownName: with the nearest known name.
    """
    text = os.fspath(name)
    return shipped_folder(text) if text.startswith(PREFIX) else Path(text)


def bundle_folder(path: Path) -> Path:
    """Where a bundle's files are: `model/` of a run folder, or the folder itself."""
    return path / "model" if (path / "model").is_dir() else path
