"""Which images of DATA a model is evaluated on: those that say something about images it has not seen.

An accuracy on images that a model was trained on, or nearly, only says how well it remembers. Each image that is
left out has a reason code, and images that DATA names = images evaluated + images left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foveal.data.audit.duplicates import exact_copies, join_all, near_pairs
from foveal.data.sources.listing import Listing
from foveal.data.targets.target import Target
from foveal.data.wording import by_reason, count_of
from foveal.errors import DataError
from foveal.evaluation.run_images import RunImages
from foveal.values import Entry, Excluded, Finding, ImageRecord

_SEEN, _NEAR = "seen_in_training", "near_duplicate_of_training"
#: Index of an image → reason code and detail.
_Reasons = dict[int, tuple[str, str]]


@dataclass(frozen=True)
class Selection:
    """What a model is evaluated on.

    Attributes:
        name: of the data.
        images: that the data names; each is in `records` or in `excluded`.
        records: the images to evaluate on.
        excluded: the others, each with its reason.
        findings: what to know about the figures.
        seen: how many of `records` the model was trained on, or nearly.
    """

    name: str
    images: int
    records: list[ImageRecord]
    excluded: list[Excluded]
    findings: list[Finding]
    seen: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As `evaluate --json` shows it."""
        return {
            "data": self.name,
            "images": self.images,
            "seen": self.seen,
            "left_out_counts": {reason: len(items) for reason, items in sorted(by_reason(self.excluded).items())},
            "left_out": [{"path": x.path, "reason": x.reason, "detail": x.detail} for x in self.excluded],
            "findings": [
                {"code": f.code, "severity": f.severity, "message": f.message, "hint": f.hint}
                for f in self.findings
            ],
        }

    def refuse(self) -> DataError:
        """The error for data of which no image could be evaluated, with the reasons."""
        reasons = by_reason(self.excluded)
        named = ", ".join(f"{len(items)} {reason}" for reason, items in sorted(reasons.items()))
        unseen = (
            "give images that the model has not seen; without DATA the measured model is evaluated on the run's test "
            "subset; --include-seen counts them, but tells nothing about new ones"
        )
        hint = unseen if reasons.keys() & {_SEEN, _NEAR} else "see the reasons with `foveal audit`"
        return DataError(f"{self.name}: no image could be evaluated: {named or 'none was named'}", hint=hint)


def in_test_subset(listing: Listing) -> tuple[list[Entry], list[Excluded], list[Finding]]:
    """Where DATA gives images to a test subset, these alone; all others are left out. Otherwise every image."""
    held_out = [e for e in listing.entries if e.split == "test"]
    others = [e for e in listing.entries if e.split != "test"]
    if not held_out or not others:
        return listing.entries, list(listing.excluded), []
    excluded = [
        Excluded(e.path, "not_in_test_subset", "the data gives it to another subset than test", e.label)
        for e in others
    ]
    finding = Finding(
        "test_subset_alone",
        "note",
        f"the data gives {count_of(len(held_out), 'image')} of {len(listing.entries)} to a test subset: "
        "the others are left out",
        "nothing to do; give the folders of the others to evaluate on them",
        len(held_out),
    )
    return held_out, [*listing.excluded, *excluded], [finding]


def select(
    listing: Listing,
    records: Sequence[ImageRecord],
    excluded: Iterable[Excluded],
    run: RunImages | None,
    target: Target,
    *,
    include_seen: bool,
) -> Selection:
    """Leave out what a model must not be evaluated on.

    An image under two labels is left out with all its copies; of other copies the first counts. What the run was
    trained on or calibrated with is left out, with its near-duplicates, and also what the run itself excluded. On the
    run's own data just its test subset remains; nothing does when the model was refitted.

    Args:
        listing: what DATA names.
        records: the images of it that were read.
        excluded: the others.
        run: what is known of the run's images; None: nothing is.
        target: what is known about the images of DATA.
        include_seen: keep what the run was trained on or excluded.
    """
    near = _near_seen(records, run)
    of_run = _of_run(records, near, run)
    reasons: _Reasons = {**_copies(records), **({} if include_seen else of_run), **_conflicting(records, target)}
    kept = [i for i in range(len(records)) if i not in reasons]
    seen = sum(of_run.get(i, ("", ""))[0] in (_SEEN, _NEAR) for i in kept)
    left_out = [
        Excluded(records[i].path, reason, detail, records[i].label, records[i].sha256)
        for i, (reason, detail) in sorted(reasons.items())
    ]
    return Selection(
        listing.name,
        len(listing.entries) + len(listing.excluded),
        [records[i] for i in kept],
        [*excluded, *left_out],
        [*_findings(run, seen), *_refitted(run, left_out), *_alike([records[i] for i in kept])],
        seen,
    )


def _copies(records: Sequence[ImageRecord]) -> _Reasons:
    return {
        i: ("duplicate", f"a copy of {records[members[0]].path}")
        for members in exact_copies(records)
        for i in members[1:]
    }


def _conflicting(records: Sequence[ImageRecord], target: Target) -> _Reasons:
    return {
        i: ("conflicting_labels", f"the same image has two {target.plural}")
        for members in exact_copies(records)
        if len({target.key(records[i]) for i in members}) > 1
        for i in members
    }


def _of_run(records: Sequence[ImageRecord], near: set[str], run: RunImages | None) -> _Reasons:
    """What the run was trained on, nearly, or excluded."""
    reasons: _Reasons = {}
    for i, record in enumerate(records):
        subset = run.subsets.get(record.sha256) if run else None
        note = run.excluded.get(record.sha256) if run else None
        if run is not None and subset in run.learned_from:
            words = "calibrated on" if subset == "val" and "test" not in run.learned_from else "trained on"
            reasons[i] = (_SEEN, f"the model was {words} this image")
        elif record.sha256 in near and subset != "test":
            reasons[i] = (_NEAR, "nearly the same as an image that the model was trained on")
        elif note is not None and subset is None:
            reasons[i] = ("excluded_by_run", note)
    return reasons


def _near_seen(records: Sequence[ImageRecord], run: RunImages | None) -> set[str]:
    """Hashes of the images that are nearly the same as one that the run was trained on."""
    if run is None or not run.seen:
        return set()
    known = len(run.seen)
    pairs = near_pairs([*run.seen, *records])
    return {records[b - known].sha256 for a, b in pairs if a < known <= b}


def _findings(run: RunImages | None, seen: int) -> Iterator[Finding]:
    if run is None:
        yield Finding(
            "training_images_unknown",
            "warning",
            "a bundle alone does not say what the model was trained on: such images could not be left out",
            "give the run folder that it comes from",
            1,
        )
    elif run.seen is None:
        yield Finding(
            "near_duplicates_not_checked",
            "warning",
            "the run has no fingerprints: only exact copies of training images were left out",
            "train again to have near-duplicates of training images recognised, too",
            1,
        )
    if seen:
        yield Finding(
            "seen_counted",
            "warning",
            f"{count_of(seen, 'image')} that the model was trained on, or nearly, counted by request",
            "these figures say nothing about new images",
            seen,
        )


def _refitted(run: RunImages | None, left_out: Sequence[Excluded]) -> Iterator[Finding]:
    """Why images of the test subset are among those that are left out."""
    if run is None or "test" not in run.learned_from:
        return
    count = sum(x.reason == _SEEN and run.subsets.get(x.sha256) == "test" for x in left_out)
    if count:
        yield Finding(
            "refitted_on_test_subset",
            "note",
            f"the delivered model was refitted on {count_of(count, 'image')} of the run's test subset: left out",
            "without DATA the measured model is evaluated on that subset",
            count,
        )


def _alike(records: Sequence[ImageRecord]) -> Iterator[Finding]:
    groups = join_all(len(records), near_pairs(records)).sets()
    if groups:
        yield Finding(
            "near_duplicates",
            "note",
            f"{count_of(len(groups), 'group')} of near-duplicates ({sum(map(len, groups))} images), counted one by one",
            "intervals are narrower than they should be; delete all but one of each group",
            len(groups),
        )


def counts_in_words(evaluated: int, counts: Mapping[str, int], images: int) -> str:
    """`84 of 120 images evaluated; left out: 30 seen_in_training, 6 duplicate`."""
    left_out = ", ".join(f"{n} {reason}" for reason, n in counts.items())
    return f"{evaluated} of {count_of(images, 'image')} evaluated; left out: {left_out or 'none'}"
