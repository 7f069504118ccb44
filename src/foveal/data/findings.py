"""What is wrong with the pictures: read records in, findings out. No disk, no pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from foveal.data.duplicates import exact_copies, join_all, near_pairs
from foveal.data.listing import Listing
from foveal.data.truth import Truth
from foveal.data.wording import LISTED, each, n_of
from foveal.values import Finding, ImageRecord, LeftOut, Severity

TINY = 32  # pixels of the short side
BLURRED = 15.0  # variance of the Laplacian at 128 px
DARK = 25.0  # mean grey level, 0-255
BLANK = 3.0  # standard deviation of the grey levels

#: Passed over without a word: they are no mistake of the user's.
_HARMLESS = {"hidden"}


def find_all(
    listing: Listing,
    records: Sequence[ImageRecord],
    left_out: Sequence[LeftOut],
    pairs: Sequence[tuple[int, int]] | None = None,
    told: Sequence[Finding] = (),
) -> list[Finding]:
    """All findings, the worst first.

    Args:
        listing: what was named.
        records: what was read.
        left_out: what was not.
        pairs: near-duplicates as indices into `records`; looked up when not given.
        told: what was found before.
    """
    pairs = near_pairs(records) if pairs is None else pairs
    copies = exact_copies(records)
    found = [
        *told,
        *_unread(left_out),
        *_labels(listing.truth, records, copies, pairs),
        *_leaks(records, copies, pairs),
        *_copies(records, copies, pairs),
        *listing.truth.findings(listing, records),
        *_looks(records),
    ]
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda f: order[f.severity])


def _unread(left_out: Sequence[LeftOut]) -> Iterable[Finding]:
    by_reason: dict[str, list[LeftOut]] = defaultdict(list)
    for item in left_out:
        by_reason[item.reason].append(item)
    for reason, items in sorted(by_reason.items()):
        first = items[0]
        yield Finding(
            reason,
            "note" if reason in _HARMLESS else "warning",
            f"{n_of(len(items), 'file')} left out ({reason}): {first.detail}",
            "see the files; convert or remove them. The run goes on without them",
            len(items),
            each(i.path for i in items),
        )


def _labels(
    truth: Truth, records: Sequence[ImageRecord], copies: list[list[int]], pairs: Sequence[tuple[int, int]]
) -> Iterable[Finding]:
    torn = [m for m in copies if len({truth.answer(records[i]) for i in m}) > 1]
    if torn:
        yield Finding(
            "conflicting_labels",
            "error",
            f"{n_of(len(torn), 'picture')} under two {truth.answers} or more",
            "decide on one; until then every copy is left out of training and test",
            len(torn),
            _groups(records, torn),
        )
    torn = [m for m in _near_sets(records, pairs) if len({records[i].label for i in m}) > 1]
    if torn:
        yield Finding(
            "conflicting_near_duplicates",
            "warning",
            f"{n_of(len(torn), 'group')} of nearly the same picture under different labels",
            "look at them: one of the labels is probably wrong",
            len(torn),
            _groups(records, torn),
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
            f"{n_of(len(leaks), 'group')} of the same or nearly the same picture on both sides of the given split",
            "the copies on the training side are left out, so that the test stays honest",
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
            f"{n_of(len(copies), 'picture')} present more than once ({sum(map(len, copies))} files)",
            "kept on one side of the split; delete the copies to count each picture once",
            len(copies),
            _groups(records, copies),
        )
    near = _near_sets(records, pairs)
    if near:
        yield Finding(
            "near_duplicates",
            "note",
            f"{n_of(len(near), 'group')} of nearly the same picture ({sum(map(len, near))} files)",
            "kept on one side of the split: nothing to do",
            len(near),
            _groups(records, near),
        )


def _looks(records: Sequence[ImageRecord]) -> Iterable[Finding]:
    tests: tuple[tuple[str, Callable[[ImageRecord], bool], str, Severity], ...] = (
        ("blank", lambda r: r.contrast < BLANK, "without content (one colour)", "warning"),
        ("dark", lambda r: r.brightness < DARK and r.contrast >= BLANK, "nearly black", "note"),
        ("tiny", lambda r: min(r.width, r.height) < TINY, f"under {TINY} pixels", "note"),
        ("blurred", _is_blurred, "without sharp detail", "note"),
    )
    for code, is_so, words, severity in tests:
        some = [r.path for r in records if is_so(r)]
        if some:
            message = f"{n_of(len(some), 'picture')} {words}"
            hint = "look at them; they are used all the same"
            yield Finding(code, severity, message, hint, len(some), each(some))


def _is_blurred(record: ImageRecord) -> bool:
    seen = record.contrast >= BLANK and record.brightness >= DARK and min(record.width, record.height) >= TINY
    return seen and record.sharpness < BLURRED


def _near_sets(records: Sequence[ImageRecord], pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    return join_all(len(records), pairs).sets()


def _groups(records: Sequence[ImageRecord], sets: Sequence[Sequence[int]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(records[i].path for i in m) for m in sets[:LISTED])
