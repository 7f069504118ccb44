"""The user's own images that an exported model is checked on: of all formats, modes and sizes that occur."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from foveal.data.images.decode import open_image, quiet, read_file
from foveal.data.split.split_csv import read_rows
from foveal.errors import DataError, UnreadableImage
from foveal.inference.inputs import find_images
from foveal.models.shipped import DELIVERED, MEASURED
from foveal.values import SUBSETS

#: An exported model is checked on so many images at least, where the user has them, and at most.
LEAST, MOST = 64, 400
#: Images whose kind is looked at.
_LOOKED_AT = 4000


@dataclass(frozen=True)
class OwnImages:
    """Images to check on.

    Attributes:
        paths: of those that can be opened, the kinds in turn.
        source: `split.csv`, or the folder that was given.
        kinds: how many kinds of format, mode and size occur among them.
    """

    paths: tuple[str, ...]
    source: str
    kinds: int


def own_images(run: Path, given: str | None = None) -> OwnImages:
    """Images of a run, those that it held out first; or those of a folder.

    Args:
        run: a run folder, or a bundle.
        given: a folder, a file or a glob, instead of the run's images.

    Raises:
        DataError: when there are too few that can be opened.
    """
    source = given or str(run_folder(run) / "split.csv")
    names = list(find_images([given])) if given else _of_run(run_folder(run))
    groups: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
    for name in names[:_LOOKED_AT]:
        if (kind := _kind(name)) is not None:
            groups[kind].append(name)
    in_turn = [p for p in chain.from_iterable(zip_longest(*groups.values())) if p is not None]
    needed = min(LEAST, len(names)) if given is None else LEAST
    if len(in_turn) < max(1, needed):
        raise DataError(
            f"{source}: {len(in_turn)} images can be opened, and {max(1, needed)} are needed to check an export",
            hint="give images like those that the model will see: --images FOLDER",
        )
    return OwnImages(tuple(in_turn[:MOST]), source, len(groups))


def _of_run(folder: Path) -> list[str]:
    """Held-out images first: the model has not learned their answers by heart."""
    if not (folder / "split.csv").exists():
        raise DataError(
            f"{folder}: there is no split.csv, so its images are not known",
            hint="give images like those that the model will see: --images FOLDER",
        )
    rows = [row for row in read_rows(folder / "split.csv") if row["split"] in SUBSETS]
    return [row["path"] for row in sorted(rows, key=lambda r: (-SUBSETS.index(r["split"]), r["sha256"]))]


def run_folder(run: Path) -> Path:
    """The run folder of a run or of the bundle in it."""
    inside = run.name in (DELIVERED, MEASURED) and not (run / "split.csv").exists()
    return run.parent if inside else run


def _kind(path: str) -> tuple[object, ...] | None:
    """Format, mode, orientation and size, the last one roughly; None for what can't be opened."""
    try:
        with quiet():
            image = open_image(read_file(path), path)
    except UnreadableImage:
        return None
    width, height = image.size
    return image.format, image.mode, width > height, (width * height).bit_length() // 2
