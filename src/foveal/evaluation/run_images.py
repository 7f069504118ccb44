"""What a run did with its images: which it was trained on, held out and excluded, and how it read them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from foveal.config import TrainConfig
from foveal.data.sources.list_data import list_data
from foveal.data.sources.listing import DataOptions, Listing
from foveal.data.split.assign import as_subset
from foveal.data.split.fingerprints import Fingerprint, read_fingerprints
from foveal.data.split.split_csv import read_rows
from foveal.errors import DataError
from foveal.files import read_json
from foveal.models.shipped import DELIVERED, MEASURED
from foveal.schema import check_listed
from foveal.values import NO_TIME, SUBSETS, Subset


@dataclass(frozen=True)
class RunImages:
    """The images of a run by SHA-256.

    Attributes:
        subsets: of those that took part.
        excluded: why the others did not, but for want of time: the model has not seen those, so they are new to it.
        seen: what near-duplicates of the images that the model learned from are found by; None: the run does not
            know.
        learned_from: the subsets that the model was fitted to or calibrated on.
    """

    subsets: Mapping[str, Subset]
    excluded: Mapping[str, str]
    seen: Sequence[Fingerprint] | None
    learned_from: Sequence[Subset] = ("train", "val")


def images_of(run: str | os.PathLike[str], learned_from: Sequence[Subset] = ("train", "val")) -> RunImages | None:
    """What is known of a run's images; None for a bundle without its run folder.

    Args:
        run: the folder, or that of a bundle in it.
        learned_from: see `Manifest.learned_from`.

    Raises:
        DataError: when a file of the run is damaged.
    """
    folder = _folder(run)
    if not (folder / "split.csv").exists():
        return None
    rows = read_rows(folder / "split.csv")
    subsets = {row["sha256"]: as_subset(row["split"]) for row in rows if row["split"] in SUBSETS}
    left_out = [row for row in rows if row["split"] not in SUBSETS and row["sha256"]]
    excluded = {row["sha256"]: row["note"] for row in left_out if not row["note"].startswith(f"{NO_TIME}:")}
    fingerprints = read_fingerprints(folder)
    seen = None if fingerprints is None else [f for f in fingerprints if subsets.get(f.sha256) in learned_from]
    return RunImages(subsets, excluded, seen, learned_from)


def settings_of_run(run: str | os.PathLike[str]) -> TrainConfig:
    """The settings of a run; the defaults for a bundle without its run folder.

    Raises:
        DataError: when its `config.json` is damaged.
    """
    file = _folder(run) / "config.json"
    if not file.exists():
        return TrainConfig()
    check_listed(file)
    return TrainConfig.from_dict(read_json(file))


def listed_as_by_run(data: str | os.PathLike[str], task: str, settings: TrainConfig) -> Listing:
    """Name the images of other data, with labels in file names where the run found them there.

    Raises:
        DataError, UnknownName: see `list_data`.
    """
    options = DataOptions(task=task, label_from=settings.label_from, label_separator=settings.label_separator)
    try:
        return list_data(data, options)
    except DataError:
        if options.label_from is None:
            raise
        return list_data(data, replace(options, label_from=None))  # class folders, say


def _folder(run: str | os.PathLike[str]) -> Path:
    """The run folder of a run or of the bundle in it."""
    folder = Path(run)
    is_bundle = folder.name in (DELIVERED, MEASURED) and not (folder / "split.csv").exists()
    return folder.parent if is_bundle else folder


def test_rows(run: Path) -> list[dict[str, str]]:
    """The rows of `split.csv` that a run held out for testing.

    Raises:
        DataError: when there is no such file, or nothing was held out.
    """
    held_out = [row for row in read_rows(run / "split.csv") if row["split"] == "test"]
    if not held_out:
        raise DataError(
            f"{run}: no images were held out for testing", hint="give others: foveal evaluate RUN DATA"
        )
    return held_out
