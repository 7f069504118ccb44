"""`foveal audit`: what is wrong with the pictures, before anything is trained."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from foveal.config import MAX_PIXELS
from foveal.data.duplicates import near_pairs
from foveal.data.findings import find_all
from foveal.data.listing import Listing, Wanted
from foveal.data.scan import Reading, scan
from foveal.data.sources import list_data
from foveal.values import SCHEMA, Finding, ImageRecord, LeftOut


@dataclass(frozen=True)
class Audit:
    """What was read, what was not, and what was found."""

    listing: Listing
    records: list[ImageRecord]
    left_out: list[LeftOut]
    near: list[tuple[int, int]]
    findings: list[Finding]
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether nothing was found that a person should act on."""
        return all(f.severity == "note" for f in self.findings)

    def classes(self) -> dict[str, int]:
        """Pictures read, a class; with masks: pictures that show it."""
        return self.listing.truth.classes(self.records)

    def to_dict(self) -> dict[str, Any]:
        """As `audit.json` and `--json` show it."""
        return {
            "schema": SCHEMA,
            **self.listing.truth.to_dict(),
            "data": self.listing.name,
            "root": self.listing.root,
            "images": len(self.listing.entries),
            "read": len(self.records),
            "classes": self.classes(),
            "clean": self.clean,
            "seconds": self.seconds,
            "findings": [asdict(f) for f in self.findings],
            "left_out": [asdict(item) for item in self.left_out],
        }


def audit(
    data: str | os.PathLike[str] | Listing,
    wanted: Wanted | None = None,
    *,
    group_by: str | None = None,
    max_pixels: int = MAX_PIXELS,
    reading: Reading | None = None,
) -> Audit:
    """Read every picture of DATA once and say what is wrong.

    Args:
        data: a folder of class folders or of pictures and masks, a CSV or JSONL file, `sample:NAME`, or what
            `list_data` made of it.
        wanted: what the user said about it.
        group_by: as in `wanted`.
        max_pixels: larger pictures are refused.
        reading: its time, what it keeps, and who listens.

    Raises:
        DataError: when DATA names no picture at all.
    """
    reading = reading or Reading()
    began = reading.clock.spent()
    listing = data if isinstance(data, Listing) else list_data(data, wanted, group_by=group_by)
    reading.on_start(len(listing.entries))
    records, refused = scan(listing.entries, reading, max_pixels=max_pixels)
    records, unfit, told = listing.truth.settle(records)
    left_out = [*listing.left_out, *refused, *unfit]
    near = near_pairs(records)
    findings = find_all(listing, records, left_out, near, told)
    return Audit(listing, records, left_out, near, findings, reading.clock.spent() - began)
