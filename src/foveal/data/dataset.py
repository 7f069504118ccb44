"""All of stage 1 in one call, and its result read back from a run folder."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from foveal.config import TrainConfig
from foveal.data.audit import audit
from foveal.data.listing import Listing
from foveal.data.pixels import check_unchanged
from foveal.data.scan import Reading
from foveal.data.split import as_side, make_split, read_sides
from foveal.data.truth import truth_of
from foveal.errors import DataError, Interrupted
from foveal.files import read_json
from foveal.values import SIDES, Dataset, Finding, ImageRecord, LeftOut, MaskRecord, Placed


def read_dataset(
    listing: Listing, config: TrainConfig, reading: Reading, keep: Callable[[dict[str, Any]], None]
) -> Dataset:
    """Read, audit and split; `keep` is given the audit, as JSON-able values, before the split is tried.

    Raises:
        DataError: when there is nothing to learn from.
        Interrupted: when the clock was stopped before two classes were read.
    """
    previous = read_sides(Path(config.split_from) / "split.csv") if config.split_from else {}
    found = audit(listing, max_pixels=config.max_pixels, reading=reading)
    keep(found.to_dict())
    if reading.clock.stopped and len(found.classes()) < 2:
        reading.clock.check()
        raise Interrupted("stopped before two classes were read: nothing was kept")
    truth = listing.truth
    split = make_split(
        found.records,
        found.near,
        found.left_out,
        seed=config.seed,
        previous=previous,
        truth=truth,
        test=config.test,
    )
    images = len(found.records) + len(found.left_out)
    return Dataset(listing.name, listing.root, images, tuple(found.findings), split, truth.task)


def reopen_dataset(run: Path) -> Dataset:
    """Stage 1 of an earlier run, from its `audit.json` and `split.csv`, with every picture still what it was.

    Raises:
        DataError: when one of the files is missing or damaged, or pictures changed; they are named.
    """
    try:
        audited = read_json(run / "audit.json")
        with (run / "split.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as handle:
            rows = list(csv.DictReader(handle))
        findings = tuple(
            Finding(**{**f, "paths": tuple(tuple(group) for group in f["paths"])}) for f in audited["findings"]
        )
        placed = tuple(
            Placed(record_of(r), as_side(r["split"]), r["group"], r["note"]) for r in rows if r["split"] in SIDES
        )
        left_out = tuple(_left_out(r) for r in rows if r["split"] not in SIDES)
        truth = truth_of(audited)
        split = truth.reopened(placed, left_out)
        dataset = Dataset(audited["data"], audited["root"], len(rows), findings, split, truth.task)
    except OSError as error:
        raise DataError(
            f"{error.filename}: {error.strerror}", hint="the run stopped too early: train anew"
        ) from None
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{run}: audit.json or split.csv is damaged: {error}", hint="train anew") from None
    check_unchanged([p.record for p in placed])
    return dataset


def record_of(row: Mapping[str, str]) -> ImageRecord:
    """What `split.csv` keeps of a picture; its measures are not asked for again."""
    return ImageRecord(
        path=row["path"],
        label=row["label"] or None,
        split=row["split"] if row["note"] == "given" else None,
        group=row["group"],
        sha256=row["sha256"],
        width=0,
        height=0,
        file_time=0,
        phash=0,
        thumb=b"",
        brightness=0.0,
        contrast=0.0,
        sharpness=0.0,
        mask=MaskRecord(row["mask"], row["mask_sha256"], False, ()) if row.get("mask") else None,
    )


def _left_out(row: Mapping[str, str]) -> LeftOut:
    reason, _, detail = row["note"].partition(": ")
    return LeftOut(row["path"], reason, detail, row["label"] or None, row["sha256"])
