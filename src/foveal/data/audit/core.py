"""What is wrong with the images by themselves; `data/dataset.py` adds what a training would do with them."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Any

from foveal.data.audit.duplicates import near_pairs
from foveal.data.audit.findings import find_all
from foveal.data.audit.scan import ScanOptions, scan
from foveal.data.sources.list_data import list_data
from foveal.data.sources.listing import DataOptions, Listing
from foveal.errors import DataError
from foveal.values import SCHEMA, SUBSETS, Excluded, Finding, ImageRecord, Split


@dataclass(frozen=True)
class Audit:
    """What was read, what was not, and what is wrong.

    Attributes:
        listing: what the data names.
        records: images that were read.
        excluded: files that take no part, and why.
        near: near-duplicates, as indices into `records`.
        findings: the worst first.
        seconds: what the audit took.
        split: what training would learn from, validate and test on; None: it was not tried, or refused.
        not_learned: classes that readable images show, but none that would be trained on.
        refusal: why training would be refused.
    """

    listing: Listing
    records: list[ImageRecord]
    excluded: list[Excluded]
    near: list[tuple[int, int]]
    findings: list[Finding]
    seconds: float
    split: Split | None = None
    not_learned: tuple[str, ...] = ()
    refusal: DataError | None = None

    @property
    def clean(self) -> bool:
        """Whether there is nothing that a person should act on."""
        return self.refusal is None and all(f.severity == "note" for f in self.findings)

    @property
    def images(self) -> int:
        """Files and rows that the data names, images or not; each is used or among `excluded`."""
        return len(self.listing.entries) + len(self.listing.excluded)

    def classes(self) -> dict[str, int]:
        """In how many images each class occurs."""
        return self.listing.target.class_counts(self.records)

    def to_dict(self) -> dict[str, Any]:
        """As `audit.json` and `--json` show it."""
        split = self.split
        return {
            "schema": SCHEMA,
            **self.listing.target.to_dict(),
            "data": self.listing.name,
            "root": self.listing.root,
            "images": len(self.listing.entries),
            "files": self.images,
            "read": len(self.records),
            "used": len(split.placed) if split else 0,
            "split": {name: len(split.subset(name)) for name in SUBSETS} if split else None,
            "refused": {"message": self.refusal.message, "hint": self.refusal.hint} if self.refusal else None,
            "classes": self.classes(),
            "not_learned": list(self.not_learned),
            "clean": self.clean,
            "seconds": self.seconds,
            "findings": [asdict(f) for f in self.findings],
            "left_out": [asdict(item) for item in self.excluded],
        }


def audit(
    data: str | os.PathLike[str] | Listing,
    options: DataOptions | None = None,
    *,
    group_by: str | None = None,
    max_pixels: int | None = None,
    scan_options: ScanOptions | None = None,
) -> Audit:
    """Read every image of DATA once and say what is wrong with the images; nothing is said about a split.

    Args:
        data: a folder of class folders or of images and masks, a CSV or JSONL file, `sample:NAME`, or what
            `list_data` made of it.
        options: what the user said about it.
        group_by: as in `options`, where there are none.
        max_pixels: larger images are refused; by default as in `scan_options`.
        scan_options: limits, caches and progress.

    Raises:
        DataError: when DATA names no image at all.
    """
    scan_options = scan_options or ScanOptions()
    if max_pixels is not None:
        scan_options = replace(scan_options, max_pixels=max_pixels)
    began = scan_options.clock.spent()
    listing = data if isinstance(data, Listing) else list_data(data, options, group_by=group_by)
    scan_options.on_start(len(listing.entries))
    records, refused = scan(listing.entries, listing.target, scan_options)
    records, unusable, target_findings = listing.target.resolve(records)
    excluded = [*listing.excluded, *refused, *unusable]
    near = near_pairs(records)
    findings = find_all(listing.target, listing.declared_classes, records, excluded, near, target_findings)
    return Audit(listing, records, excluded, near, findings, scan_options.clock.spent() - began)
