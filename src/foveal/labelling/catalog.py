"""The images that were read so far, each content once, and near-duplicates under the first of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from foveal.data.audit.duplicates import near_pairs
from foveal.engines.base import Features
from foveal.labelling.state import key_of
from foveal.values import ImageRecord


@dataclass
class Catalog:
    """Images by number, in the order in which they were read.

    Attributes:
        records: one for each content.
        paths: of all files with that content.
        items: number of an image that is shown → numbers of it and of its near-duplicates.
        features: of all images, `(N, D)`.
    """

    records: list[ImageRecord] = field(default_factory=list)
    paths: list[list[str]] = field(default_factory=list)
    items: dict[int, list[int]] = field(default_factory=dict)
    features: Features = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))

    def __post_init__(self) -> None:
        self._keys = {
            shown: tuple(key_of(self.records[member].sha256) for member in members)
            for shown, members in self.items.items()
        }

    def extended(self, records: Sequence[ImageRecord], features: Features) -> Catalog:
        """A catalog with more images at its end; what was shown before still is.

        Args:
            records: of what was read, `(M,)`; contents may repeat.
            features: of these records, `(M, D)`.
        """
        known = {record.sha256: number for number, record in enumerate(self.records)}
        all_records, paths = list(self.records), [list(of) for of in self.paths]
        rows: list[int] = []
        for row, record in enumerate(records):
            number = known.setdefault(record.sha256, len(all_records))
            if number == len(all_records):
                all_records.append(record)
                paths.append([])
                rows.append(row)
            paths[number].append(record.path)
        new = features[rows]
        joined = np.concatenate([self.features, new]) if len(self.features) else new
        return Catalog(all_records, paths, self._items_of(all_records), joined)

    def _items_of(self, records: list[ImageRecord]) -> dict[int, list[int]]:
        """New images join the first image shown that they are like themselves: nothing is joined through a third."""
        items = {shown: list(members) for shown, members in self.items.items()}
        shown_by = {member: shown for shown, members in items.items() for member in members}
        like: dict[int, list[int]] = {}
        for first, second in near_pairs(records):
            like.setdefault(second, []).append(first)
        for number in range(len(self.records), len(records)):
            shown = next((other for other in sorted(like.get(number, ())) if shown_by[other] == other), number)
            items.setdefault(shown, []).append(number)
            shown_by[number] = shown
        return items

    def keys(self, shown: int) -> tuple[str, ...]:
        """The keys of an image that is shown and of its near-duplicates."""
        return self._keys[shown]
