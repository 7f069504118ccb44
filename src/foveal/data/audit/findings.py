"""What is wrong with the images: records in, findings out. No disk, no pixels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from foveal.data.audit.duplicates import exact_copies, join_all
from foveal.data.images.file_kinds import is_named_as_image
from foveal.data.targets.target import Target
from foveal.data.wording import LISTED, by_reason, count_of, excluded_because, separate
from foveal.values import Excluded, Finding, ImageRecord, Severity

TINY = 32  # pixels of the short side
BLURRED = 15.0  # variance of the Laplacian at 128 px
DARK = 25.0  # mean grey level, 0-255
BLANK = 3.0  # standard deviation of the grey levels

#: Reasons that are not the user's mistake.
_HARMLESS = {"hidden"}


def find_all(
    target: Target,
    declared_classes: Collection[str],
    records: Sequence[ImageRecord],
    excluded: Sequence[Excluded],
    near: Sequence[tuple[int, int]],
    earlier: Sequence[Finding] = (),
) -> list[Finding]:
    """All findings, the worst first.

    Args:
        target: what is to be learned.
        declared_classes: classes that the data names, with readable images or without.
        records: what was read.
        excluded: what was not.
        near: near-duplicates as indices into `records`.
        earlier: findings of reading the target.
    """
    copies = exact_copies(records)
    findings = [
        *earlier,
        *find_excluded(excluded),
        *_conflicts(target, records, copies, near),
        *_leaks(records, copies, near),
        *_copies(records, copies, near),
        *target.findings(records, declared_classes),
        *_appearance(records),
    ]
    return worst_first(findings)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes, each in the order given."""
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda f: order[f.severity])


def find_excluded(
    excluded: Iterable[Excluded],
    hint: str = "check these files, then convert or remove them",
    severity: Severity = "warning",
) -> Iterable[Finding]:
    """A finding for each reason code, with all details that occur under it; files named as images come first."""
    for reason, items in sorted(by_reason(excluded).items()):
        yield Finding(
            reason,
            "note" if reason in _HARMLESS else severity,
            excluded_because(reason, items),
            f"{hint}. The run goes on without them",
            len(items),
            separate(sorted((i.path for i in items), key=lambda path: not is_named_as_image(path))),
        )


def _conflicts(
    target: Target, records: Sequence[ImageRecord], copies: list[list[int]], pairs: Sequence[tuple[int, int]]
) -> Iterable[Finding]:
    different = [m for m in copies if len({target.key(records[i]) for i in m}) > 1]
    if different:
        yield Finding(
            "conflicting_labels",
            "error",
            f"{count_of(len(different), 'image')} with two or more {target.plural}",
            "decide on one; until then every copy is excluded from training and test",
            len(different),
            _groups(records, different),
        )
    different = [m for m in _near_sets(records, pairs) if len({target.shared(records[i]) for i in m}) > 1]
    if different:
        yield Finding(
            "conflicting_near_duplicates",
            "warning",
            f"{count_of(len(different), 'group')} of near-duplicates with different {target.plural}",
            f"check them: one of the {target.plural} is probably wrong",
            len(different),
            _groups(records, different),
        )


def _leaks(
    records: Sequence[ImageRecord], copies: list[list[int]], pairs: Sequence[tuple[int, int]]
) -> Iterable[Finding]:
    joined = join_all(len(records), [*copies, *pairs])
    leaks = [m for m in joined.sets() if len({records[i].split for i in m} - {None}) > 1]
    if leaks:
        yield Finding(
            "leak_between_splits",
            "error",
            f"{count_of(len(leaks), 'group')} of the same or nearly the same image in two or more given subsets",
            "the copies in the training subset are excluded, so that the test stays honest",
            len(leaks),
            _groups(records, leaks),
        )


def _copies(
    records: Sequence[ImageRecord], copies: list[list[int]], pairs: Sequence[tuple[int, int]]
) -> Iterable[Finding]:
    if copies:
        yield Finding(
            "duplicates",
            "warning",
            f"{count_of(len(copies), 'image')} present more than once ({sum(map(len, copies))} files)",
            "kept in one subset; delete the copies to count each image once",
            len(copies),
            _groups(records, copies),
        )
    near = _near_sets(records, pairs)
    if near:
        yield Finding(
            "near_duplicates",
            "note",
            f"{count_of(len(near), 'group')} of near-duplicates ({sum(map(len, near))} files)",
            "kept in one subset: nothing to do",
            len(near),
            _groups(records, near),
        )


def _appearance(records: Sequence[ImageRecord]) -> Iterable[Finding]:
    tests: tuple[tuple[str, Callable[[ImageRecord], bool], str, Severity], ...] = (
        ("blank", lambda r: r.contrast < BLANK, "of a single colour", "warning"),
        ("dark", lambda r: r.brightness < DARK and r.contrast >= BLANK, "nearly black", "note"),
        ("tiny", lambda r: min(r.width, r.height) < TINY, f"under {TINY} pixels", "note"),
        ("several_frames", lambda r: r.several_frames, "with several frames, of which the first is used", "note"),
        ("blurred", _is_blurred, "without sharp detail", "note"),
    )
    for code, applies, words, severity in tests:
        paths = [r.path for r in records if applies(r)]
        if paths:
            message = f"{count_of(len(paths), 'image')} {words}"
            yield Finding(code, severity, message, "check them; they are used anyway", len(paths), separate(paths))


def _is_blurred(record: ImageRecord) -> bool:
    visible = record.contrast >= BLANK and record.brightness >= DARK and min(record.width, record.height) >= TINY
    return visible and record.sharpness < BLURRED


def _near_sets(records: Sequence[ImageRecord], pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    return join_all(len(records), pairs).sets()


def _groups(records: Sequence[ImageRecord], sets: Sequence[Sequence[int]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(records[i].path for i in m) for m in sets[:LISTED])
