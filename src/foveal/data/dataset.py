"""All of stage 1 in one call, and its result read back from a run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foveal.config import TrainConfig
from foveal.data.audit import audit
from foveal.data.audit.scan import ScanOptions
from foveal.data.images.pixels import check_unchanged
from foveal.data.sources.listing import Listing
from foveal.data.split.assign import make_split
from foveal.data.split.split_csv import read_split, read_subsets
from foveal.data.targets.registry import target_of
from foveal.data.targets.target import Target
from foveal.errors import DataError, Interrupted
from foveal.files import read_json
from foveal.schema import check_listed, checked
from foveal.values import Finding, Split


@dataclass(frozen=True)
class Dataset:
    """What stage 1 hands on: the split, the target, and what the audit found.

    Attributes:
        name, root: short name of the data, and the folder that paths are shown relative to.
        images: images that were named, read or not.
        findings: of the audit.
        split: every image with its subset.
        target: what is to be learned about each image.
    """

    name: str
    root: str
    images: int
    findings: tuple[Finding, ...]
    split: Split
    target: Target

    @property
    def task(self) -> str:
        """The name of the target's task."""
        return self.target.task


def read_dataset(
    listing: Listing, config: TrainConfig, options: ScanOptions, keep: Callable[[dict[str, Any]], None]
) -> Dataset:
    """Read, audit and split.

    Args:
        listing: what the data names.
        config: seed, `max_pixels`, and how to split.
        options: caches, progress and time of the scan.
        keep: is given the audit, as JSON-able values, before the split is tried.

    Raises:
        DataError: when there is not enough to learn from.
        Interrupted: when the clock was stopped before two classes were read.
    """
    previous = read_subsets(Path(config.split_from) / "split.csv") if config.split_from else {}
    audited = audit(listing, scan_options=replace(options, max_pixels=config.max_pixels))
    keep(audited.to_dict())
    if options.clock.stopped and len(audited.classes()) < 2:
        options.clock.check()
        raise Interrupted("stopped before two classes were read: nothing was kept")
    split = make_split(
        audited.records,
        audited.near,
        audited.excluded,
        target=listing.target,
        seed=config.seed,
        previous=previous,
        test=config.test,
    )
    images = len(audited.records) + len(audited.excluded)
    return Dataset(listing.name, listing.root, images, tuple(audited.findings), split, listing.target)


@dataclass(frozen=True)
class StoredAudit:
    """What is read back of an `audit.json`.

    Attributes:
        data, root, findings: as in `Dataset`.
        values: all of it, among which are those of its target.
    """

    data: str
    root: str
    findings: tuple[Finding, ...]
    values: dict[str, Any]


def read_audit(run: Path) -> StoredAudit:
    """The `audit.json` of an earlier run.

    Raises:
        DataError: when it is missing or damaged.
    """
    file, hint = run / "audit.json", "start a new run"
    try:
        check_listed(file)
        values: dict[str, Any] = checked(read_json(file), dict[str, Any], str(file), error=DataError, hint=hint)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}", hint="the run stopped too early: start a new run") from None
    except ValueError as error:
        raise DataError(f"{file}: {error}", hint=hint) from None
    known = {name: values[name] for name in ("data", "root", "findings") if name in values}
    return checked({**known, "values": values}, StoredAudit, str(file), error=DataError, hint=hint)


def reopen_dataset(run: Path) -> Dataset:
    """Stage 1 of an earlier run, from its `audit.json` and `split.csv`, with every file still what it was.

    Raises:
        DataError: when one of the two is missing or damaged, or files changed; they are named.
    """
    audited = read_audit(run)
    try:
        target = target_of(audited.values)
        split = read_split(run / "split.csv", target)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{run}: audit.json or split.csv is damaged: {error}", hint="start a new run") from None
    if not split.subset("train"):
        raise DataError(f"{run / 'split.csv'}: no image is in the training subset", hint="start a new run")
    images = len(split.placed) + len(split.excluded)
    dataset = Dataset(audited.data, audited.root, images, audited.findings, split, target)
    records = [p.record for p in split.placed]
    check_unchanged(file for r in records for file in [(r.path, r.sha256), *target.files(r)])
    return dataset
