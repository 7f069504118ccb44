"""What a split does to a data set that a person should know: images it excludes, classes it can't learn or test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from foveal.data.audit.findings import find_excluded
from foveal.data.targets.target import Target
from foveal.data.wording import by_reason, count_of, first_few
from foveal.values import Excluded, Finding, ImageRecord, Severity, SplitRecord

#: Reasons of the split → severity and hint of the finding. The audit reports the others itself, with the images
#: that belong together side by side.
_REPORTED: dict[str, tuple[Severity, str]] = {
    "beside_held_out": ("note", "nothing to do: they would make the test easier than it should be"),
    "bridges_split": ("warning", "nothing to do, unless you start a new split without --split-from"),
    "group_between_splits": ("error", "give all images of a group to one subset"),
}


def find_in_split(
    target: Target,
    records: Sequence[ImageRecord],
    placed: Sequence[SplitRecord],
    excluded: Sequence[Excluded],
    *,
    test: bool = True,
) -> Iterable[Finding]:
    """The findings.

    Args:
        target: what is to be learned.
        records: what was read.
        placed: the images with a subset.
        excluded: those that the split excluded.
        test: whether a test subset is wanted.
    """
    reasons = by_reason(excluded)
    for reason, (severity, hint) in _REPORTED.items():
        yield from find_excluded(reasons.get(reason, ()), hint, severity)
    missing = not_learned(target, records, placed)
    if missing:
        sizes = target.class_counts(records)
        named = first_few(f"{name} ({sizes[name]})" for name in missing)
        yield Finding(
            "classes_not_learned",
            "error",
            f"{count_of(len(missing), 'class', 'classes')} without a training image, not learned: {named}",
            "add images of them; those that are there were excluded, or are given to another subset",
            len(missing),
        )
    if test and placed:
        yield from _untested(target, placed)


def not_learned(target: Target, records: Sequence[ImageRecord], placed: Sequence[SplitRecord]) -> list[str]:
    """Classes that readable images show, but no training image does."""
    there = target.class_counts(records)
    trained = target.class_counts([p.record for p in placed if p.subset == "train"])
    return [name for name, count in there.items() if count and not trained.get(name)]


def _untested(target: Target, placed: Sequence[SplitRecord]) -> Iterable[Finding]:
    """Classes that are learned and not tested, or all of them."""
    tested = target.class_counts([p.record for p in placed if p.subset == "test"])
    learned = target.class_counts([p.record for p in placed if p.subset == "train"])
    without = [name for name, count in learned.items() if count and not tested.get(name)]
    if not any(tested.values()):
        yield Finding(
            "no_test_images",
            "warning",
            "no image is held out for testing: nothing will say how well the model does",
            "collect more images, or evaluate it on others: foveal evaluate RUN DATA",
            len(without) or 1,
        )
    elif without:
        yield Finding(
            "classes_not_tested",
            "note",
            f"{count_of(len(without), 'class', 'classes')} without a test image: {first_few(without)}",
            "they are learned, but no figure says how well; collect more images of them",
            len(without),
        )
