"""Models by name.

`model:NAME` ships in the package, `latest` is the newest finished run below `runs/`, and anything else is the path of
a run folder or a bundle.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from foveal.errors import BundleError, UnknownName

#: What the names of models in the package begin with.
PREFIX = "model:"
#: The name of the newest finished run, unless a file or folder here is called so.
LATEST = "latest"
#: Folders of a run: the bundle that it delivers, and the one that was measured where that is another.
DELIVERED, MEASURED = "model", "measured"


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
    """The folder that `model:NAME` or `latest` stands for; any other name is a path already.

    Raises:
        UnknownName: with the nearest known name.
        BundleError: when there is no finished run yet.
    """
    text = os.fspath(name)
    if text == LATEST and not os.path.lexists(text):
        return latest_run()
    return shipped_folder(text) if text.startswith(PREFIX) else Path(text)


def bundle_files(name: str | os.PathLike[str]) -> list[Path]:
    """The files that a bundle is read from, by the name of the model."""
    folder = bundle_folder(model_path(name))
    return [folder / "bundle.json", folder / "weights.safetensors"]


def latest_run(runs: Path = Path("runs")) -> Path:
    """The run below a folder that was finished last.

    Raises:
        BundleError: when there is none.
    """
    finished = [(summary.stat().st_mtime_ns, summary.parent) for summary in runs.glob("*/summary.json")]
    if not finished:
        raise BundleError(f"no finished run in {runs.absolute()}", hint="train one: foveal train DATA")
    return max(finished)[1]


def bundle_folder(path: Path) -> Path:
    """Where a bundle's files are: `model/` of a run folder, or the folder itself.

    A run that ended while its refitted model took the place of the measured one may have the latter only.
    """
    return next((path / name for name in (DELIVERED, MEASURED) if (path / name).is_dir()), path)


def measured_folder(path: Path) -> Path:
    """Where the model is that a run's figures belong to: `measured/` where another one is delivered."""
    return path / MEASURED if (path / MEASURED).is_dir() else bundle_folder(path)
