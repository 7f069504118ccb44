"""All of stage 1 in one call, and its result read back from a run folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foveal.config import TrainConfig
from foveal.data.audit import Audit
from foveal.data.audit import audit as read_images
from foveal.data.audit.findings import worst_first
from foveal.data.audit.scan import ScanOptions
from foveal.data.images.pixels import check_unchanged
from foveal.data.sources.list_data import list_data
from foveal.data.sources.listing import DataOptions, Listing
from foveal.data.split.assign import assign
from foveal.data.split.fingerprints import with_fingerprints
from foveal.data.split.split_csv import read_split, read_subsets
from foveal.data.split.split_findings import find_in_split, not_learned
from foveal.data.targets.registry import target_of
from foveal.data.targets.target import Target
from foveal.errors import DataError, Interrupted
from foveal.files import read_json
from foveal.schema import check_listed, checked
from foveal.values import Excluded, Finding, Split


@dataclass(frozen=True)
class Dataset:
    """What stage 1 hands on: the split, the target, and what the audit found.

    Attributes:
        name, root: short name of the data, and the folder that paths are shown relative to.
        images: images that were named, read or not.
        findings: of the audit.
        split: every image with its subset.
        target: what is to be learned about each image.
        not_learned: classes of which no image is trained on.
    """

    name: str
    root: str
    images: int
    findings: tuple[Finding, ...]
    split: Split
    target: Target
    not_learned: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """The name of the target's task."""
        return self.target.task


def audit(
    data: str | os.PathLike[str] | Listing,
    config: TrainConfig | None = None,
    *,
    scan_options: ScanOptions | None = None,
    say: Callable[[str], None] = lambda _: None,
    **settings: Any,  # noqa: ANN401  (the fields of TrainConfig)
) -> Audit:
    """Read every image of DATA once, and say what is wrong and what `train` would do with it.

    Images are read, compared and split by the code that `train` runs, so that both exclude the same images for the
    same reasons, and refuse the same data.

    Args:
        data: a folder of class folders or of images and masks, a CSV or JSONL file, `sample:NAME`, or what
            `list_data` made of it.
        config: settings of the training; those that matter are `task`, `classes`, `void`, `group_by`,
            `split_from`, `test`, `seed` and `max_pixels`.
        scan_options: caches, progress and time of the scan.
        say: is told what takes long, such as a download.
        settings: single settings, where there is no `config`: `audit("photos/", group_by="...")`.

    Raises:
        DataError: when DATA names no image at all, or the earlier run of `split_from` has no split.
        UsageError: for an invalid setting.
    """
    config = config or TrainConfig(**settings)
    previous = read_subsets(Path(config.split_from) / "split.csv") if config.split_from else {}
    listing = data if isinstance(data, Listing) else list_data(data, DataOptions.of(config, say))
    options = replace(scan_options or ScanOptions(), max_pixels=config.max_pixels)
    read = read_images(listing, scan_options=options)
    excluded: list[Excluded] = []
    found: list[Finding] = []
    missing: list[str] = []
    split, refusal = None, None
    try:
        placed, excluded = assign(
            read.records,
            read.near,
            target=listing.target,
            seed=config.seed,
            previous=previous,
            test=config.holds_out_test,
        )
        missing = not_learned(listing.target, read.records, placed)
        found = list(find_in_split(listing.target, read.records, placed, excluded, test=config.holds_out_test))
        split = listing.target.build_split(placed, [*read.excluded, *excluded])
    except DataError as error:
        refusal = error
    return replace(
        read,
        findings=worst_first([*read.findings, *found]),
        excluded=list(split.excluded) if split else [*read.excluded, *excluded],
        split=split,
        not_learned=tuple(missing),
        refusal=refusal,
    )


def read_dataset(
    listing: Listing, config: TrainConfig, options: ScanOptions, keep: Callable[[dict[str, Any]], None]
) -> Dataset:
    """Read, audit and split.

    Args:
        listing: what the data names.
        config: seed, `max_pixels`, and how to split.
        options: caches, progress and time of the scan.
        keep: is given the audit, as JSON-able values, also when its refusal is raised afterwards.

    Raises:
        DataError: when there is not enough to learn from.
        Interrupted: when the clock was stopped before two classes were read.
    """
    audited = audit(listing, config, scan_options=options)
    keep(audited.to_dict())
    if options.clock.stopped and len(audited.classes()) < 2:
        options.clock.check()
        raise Interrupted("stopped before two classes were read: nothing was kept")
    if audited.refusal is not None:
        raise audited.refusal
    assert audited.split is not None
    return Dataset(
        listing.name,
        listing.root,
        audited.images,
        tuple(audited.findings),
        audited.split,
        listing.target,
        audited.not_learned,
    )


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
        split = with_fingerprints(read_split(run / "split.csv", target), run)
        missing = tuple(map(str, audited.values.get("not_learned", ())))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{run}: audit.json or split.csv is damaged: {error}", hint="start a new run") from None
    if not split.subset("train"):
        raise DataError(f"{run / 'split.csv'}: no image is in the training subset", hint="start a new run")
    images = len(split.placed) + len(split.excluded)
    dataset = Dataset(audited.data, audited.root, images, audited.findings, split, target, missing)
    records = [p.record for p in split.placed]
    check_unchanged(file for r in records for file in [(r.path, r.sha256), *target.files(r)])
    return dataset
