"""What a run did with its images: which it was trained on, which it held out, which it excluded."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foveal.data.split.assign import as_subset
from foveal.data.split.fingerprints import SEEN, Fingerprint, read_fingerprints
from foveal.errors import DataError
from foveal.values import SUBSETS, Subset

_NEEDED = ("path", "sha256", "label", "split", "group", "note")


@dataclass(frozen=True)
class RunImages:
    """The images of a run by SHA-256.

    Attributes:
        subsets: of those that took part.
        excluded: why the others did not.
        seen: what near-duplicates of training and validation images are found by; None: the run does not know.
    """

    subsets: Mapping[str, Subset]
    excluded: Mapping[str, str]
    seen: Sequence[Fingerprint] | None


def images_of(run: str | os.PathLike[str]) -> RunImages | None:
    """What is known of a run's images; None for a bundle without its run folder.

    Raises:
        DataError: when a file of the run is damaged.
    """
    folder = Path(run)
    if folder.name == "model" and not (folder / "split.csv").exists():
        folder = folder.parent
    if not (folder / "split.csv").exists():
        return None
    rows = split_rows(folder)
    subsets = {row["sha256"]: as_subset(row["split"]) for row in rows if row["split"] in SUBSETS}
    excluded = {row["sha256"]: row["note"] for row in rows if row["split"] not in SUBSETS and row["sha256"]}
    fingerprints = read_fingerprints(folder)
    seen = None if fingerprints is None else [f for f in fingerprints if subsets.get(f.sha256) in SEEN]
    return RunImages(subsets, excluded, seen)


def split_rows(run: Path) -> list[dict[str, str]]:
    """The rows of a run's `split.csv`.

    Raises:
        DataError: when there is no such file, or it is damaged.
    """
    file = run / "split.csv"
    try:
        with file.open(encoding="utf-8", errors="surrogateescape", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except OSError as error:
        raise DataError(
            f"{file}: {error.strerror}",
            hint="give the run folder, or labelled images: foveal evaluate RUN DATA",
        ) from None
    except csv.Error as error:
        raise DataError(f"{file}: {error}", hint="the file is damaged") from None
    for number, row in enumerate(rows, 2):
        missing = [name for name in _NEEDED if row.get(name) is None]
        if missing:
            raise DataError(f"{file}: row {number} lacks {', '.join(missing)}", hint="the file is damaged")
    return rows


def test_rows(run: Path) -> list[dict[str, str]]:
    """The rows of `split.csv` that a run held out for testing.

    Raises:
        DataError: when there is no such file, or nothing was held out.
    """
    held_out = [row for row in split_rows(run) if row["split"] == "test"]
    if not held_out:
        raise DataError(
            f"{run}: no images were held out for testing", hint="give others: foveal evaluate RUN DATA"
        )
    return held_out
