"""One label a picture: what a classifier learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from foveal.data.wording import n_of, some
from foveal.errors import DataError
from foveal.values import Finding, ImageRecord, LeftOut, Placed, Split

if TYPE_CHECKING:
    from foveal.data.listing import Listing

FEW = 20  # pictures a class under which no figure can be trusted
IMBALANCE = 5.0  # the largest class over the smallest


class Labels:
    """See `truth.Truth`."""

    task = "classify"
    answers = "labels"
    few_sets = False

    def settle(self, records: Sequence[ImageRecord]) -> tuple[list[ImageRecord], list[LeftOut], list[Finding]]:
        """What a label means needs no looking at the pictures."""
        return list(records), [], []

    def answer(self, record: ImageRecord) -> str | None:
        """The label."""
        return record.label

    def neighbours(self, records: Sequence[ImageRecord]) -> list[list[int]]:
        """None are known by name."""
        return []

    def too_near(self, records: Sequence[ImageRecord]) -> list[tuple[int, int]]:
        """None either."""
        return []

    def classes(self, records: Sequence[ImageRecord]) -> dict[str, int]:
        """Pictures read, a class."""
        return dict(sorted(Counter(str(r.label) for r in records).items()))

    def findings(self, listing: Listing, records: Sequence[ImageRecord]) -> Iterable[Finding]:
        """Classes that are empty, small, or far larger than others."""
        sizes = Counter(r.label for r in records)
        named = {*listing.empty_classes, *(e.label for e in listing.entries if e.label)}
        empty = sorted(named - set(sizes) - {None})
        if empty:
            yield Finding(
                "empty_classes",
                "warning",
                f"{n_of(len(empty), 'class', 'classes')} without a picture that could be read: {some(empty)}",
                "add pictures, or remove the folder",
                len(empty),
            )
        few = sorted((n, str(label)) for label, n in sizes.items() if n < FEW)
        if few:
            words = some(f"{c} ({n})" for n, c in few)
            yield Finding(
                "few_pictures",
                "warning",
                f"{n_of(len(few), 'class', 'classes')} under {FEW} pictures: {words}",
                "collect more: 100 a class is a good start",
                len(few),
            )
        if len(sizes) > 1 and max(sizes.values()) > IMBALANCE * min(sizes.values()):
            (most, n), (least, k) = sizes.most_common()[0], sizes.most_common()[-1]
            yield Finding(
                "imbalance",
                "warning",
                f"{most} has {n} pictures, {least} has {k}",
                "look at balanced accuracy, not at accuracy; collect more of the rare classes",
                len(sizes),
            )

    def split(self, placed: Sequence[Placed], out: Sequence[LeftOut]) -> Split:
        """Leave out classes that nothing can be learned about; refuse to go on with fewer than two."""
        learned = {str(p.record.label) for p in placed if p.side == "train"}
        kept = [p for p in placed if p.record.label in learned]
        lost = [p.record for p in placed if p.record.label not in learned]
        left_out = [
            *out,
            *(
                LeftOut(r.path, "class_not_in_train", _NOT_IN_TRAIN.format(r.label), r.label, r.sha256)
                for r in lost
            ),
        ]
        if len(learned) < 2:
            sizes = Counter(str(p.record.label) for p in placed)
            named = ", ".join(f"{c} ({n})" for c, n in sizes.most_common(5)) or "none"
            late = sum(item.reason == "no_time" for item in left_out)
            hint = "`foveal audit` says what was left out and why; add pictures to a second class folder"
            raise DataError(
                f"two classes are needed to learn from; with usable pictures there are: {named}",
                hint=f"{late} pictures were not read in time: give it more, --time 10m" if late else hint,
            )
        kept.sort(key=lambda p: p.record.path)
        return Split(tuple(kept), tuple(left_out), tuple(sorted(learned)))

    def to_dict(self) -> dict[str, Any]:
        """Nothing but the task."""
        return {"task": self.task}

    @classmethod
    def from_dict(cls, _: Mapping[str, Any]) -> Labels:
        """Back from `to_dict`."""
        return cls()

    def reopened(self, placed: Sequence[Placed], out: Sequence[LeftOut]) -> Split:
        """The split of an earlier run, as it was."""
        classes = tuple(sorted({str(p.record.label) for p in placed if p.side == "train"}))
        return Split(tuple(placed), tuple(out), classes)


_NOT_IN_TRAIN = "no picture of {} fell to the training side"
