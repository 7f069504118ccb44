"""Names for the files of each image: no file that foveal did not write is ever replaced."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from foveal.errors import UsageError

#: Keys of our records whose values are names of files.
_KEYS = ("mask", "overlay", "array", "none")


class Names:
    """Names of files in a folder, each given once.

    What an earlier call wrote there, by its own records, is replaced; where another file has the name, a number is
    added.

    Args:
        folder: to write to; it need not exist.
        inputs: paths of the images that are predicted on.

    Raises:
        UsageError: when one of these images is in the folder itself.
    """

    def __init__(self, folder: Path, inputs: Iterable[str] = ()) -> None:
        places = {p.resolve() for p in (folder, folder / "overlays")}
        for path in inputs:
            if Path(path).resolve().parent in places:
                raise UsageError(
                    f"{folder} holds {path}, one of the images to predict on",
                    hint="predictions are files of the same names: give a folder of their own, --out DIR",
                )
        ours = set(_written(folder))
        self._foreign = {f.stem.lower() for f in _files(folder) if f.name not in ours}
        self._given: set[str] = set()

    def fresh(self, path: str) -> str:
        """A name for the files of the image at a path."""
        stem = Path(path).stem or "image"
        name, n = stem, 2
        while not self._free(name.lower()):
            name, n = f"{stem}-{n}", n + 1
        self._given.add(name.lower())
        return name

    def _free(self, name: str) -> bool:
        return name not in self._given and not any(f == name or f.startswith(name + "-") for f in self._foreign)


def _files(folder: Path) -> Iterator[Path]:
    for place in (folder, folder / "overlays"):
        if place.is_dir():
            yield from (f for f in place.iterdir() if f.is_file())


def _written(folder: Path) -> Iterator[str]:
    """Names of our records in a folder, and of the files that they list."""
    for record in folder.glob("*.json") if folder.is_dir() else ():
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for entry in _entries(content):
            yield record.name
            yield from (Path(entry[k]).name for k in _KEYS if isinstance(entry.get(k), str))
            if isinstance(entry.get("heat"), dict):
                yield from (Path(str(f)).name for f in entry["heat"].values())


def _entries(content: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """The entries of `predictions.json`, or the one of a map; none in a file that is not ours."""
    if not isinstance(content, dict) or "schema" not in content:
        return []
    entries = content.get("predictions", [content] if "array" in content else [])
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
