"""Names for the files of each image: no file that foveal did not write is ever replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from foveal.errors import UsageError
from foveal.files import sha256_of

#: The folder inside the one of the predictions that has files of its own.
OVERLAYS = "overlays"
#: The key of our records under which each file, relative to the folder, has the digest of its content.
DIGESTS = "sha256"
#: Bytes of an image's name that the names of its files keep; most file systems allow 255 in all.
_LONGEST = 120


class Names:
    """Names of files in a folder, each given once.

    What an earlier call wrote there is replaced, if it was not changed since: our records have its digest. Where
    another file has the name, a number is added.

    Args:
        folder: to write to; it need not exist.
        inputs: paths of the images that are predicted on.
        overwrite: whether other files may be replaced, too.

    Raises:
        UsageError: when one of these images is in the folder itself.
    """

    def __init__(self, folder: Path, inputs: Iterable[str] = (), *, overwrite: bool = False) -> None:
        places = {p.resolve() for p in (folder, folder / OVERLAYS)}
        for path in inputs:
            if Path(path).resolve().parent in places:
                raise UsageError(
                    f"{folder} holds {path}, one of the images to predict on",
                    hint="predictions are files of the same names: give a folder of their own, --out DIR",
                )
        self._folder = folder
        self._existing = {} if overwrite else {name.lower(): name for name in _files(folder)}
        self._ours = dict(_written(folder)) if self._existing else {}
        self._given: set[str] = set()

    def fresh(self, path: str, endings: Sequence[str], *, also_in: Sequence[str] = ()) -> str:
        """A name for the files of the image at a path.

        Args:
            path: of the image, or `-` for stdin.
            endings: of the names of all its files.
            also_in: folders inside the folder that get files of these names, too.
        """
        stem = shortened("stdin" if path == "-" else Path(path).stem or "image", _LONGEST)
        name, n = stem, 2
        while not all(self._free(file) for file in _all_files(name, endings, also_in)):
            name, n = f"{stem}-{n}", n + 1
        self._given.update(file.lower() for file in _all_files(name, endings, also_in))
        return name

    def _free(self, file: str) -> bool:
        existing = self._existing.get(file.lower())
        return file.lower() not in self._given and (existing is None or self._is_ours(existing))

    def _is_ours(self, file: str) -> bool:
        known, path = self._ours.get(file), self._folder / file
        return known is not None and path.is_file() and (not known or sha256_of(path) == known)


def shortened(text: str, most: int) -> str:
    """The first bytes of a name, whole characters only."""
    encoded = os.fsencode(text)
    return text if len(encoded) <= most else encoded[:most].decode("utf-8", "ignore")


def digests_of(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files that were written, by their names relative to the folder, for a record."""
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}


def _all_files(name: str, endings: Sequence[str], also_in: Sequence[str]) -> list[str]:
    plain = [name + ending for ending in endings]
    return plain + [f"{folder}/{file}" for folder in also_in for file in plain]


def _files(folder: Path) -> Iterator[str]:
    """All that is in a folder and its overlays, relative to it; links that lead nowhere, too."""
    for prefix in ("", f"{OVERLAYS}/"):
        place = folder / prefix
        if place.is_dir():
            yield from (prefix + name for name in os.listdir(place))


def _written(folder: Path) -> Iterator[tuple[str, str]]:
    """Our records in a folder, with an empty digest, and the files that they list, with theirs."""
    for record in folder.glob("*.json"):
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        for entry in _entries(content):
            yield record.name, ""
            digests = entry.get(DIGESTS)
            if isinstance(digests, Mapping):
                yield from ((str(name), str(digest)) for name, digest in digests.items() if digest)


def _entries(content: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """The entries of `predictions.json`, or the one of a map; none in a file that is not ours."""
    if not isinstance(content, dict) or "schema" not in content:
        return []
    entries = content.get("predictions", [content] if "array" in content else [])
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
