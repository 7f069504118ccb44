"""What is wrong with the pictures: read records in, findings out. No disk, no pictures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from foveal.data.duplicates import exact_copies, join_all, near_pairs
from foveal.data.sources import Listing
from foveal.values import Finding, ImageRecord, LeftOut, Severity

FEW = 20  # pictures a class under which no figure can be trusted
IMBALANCE = 5.0  # the largest class over the smallest
TINY = 32  # pixels of the short side
BLURRED = 15.0  # variance of the Laplacian at 128 px
DARK = 25.0  # mean grey level, 0-255
BLANK = 3.0  # standard deviation of the grey levels

_LISTED = 200
#: Passed over without a word: they are no mistake of the user's.
_HARMLESS = {"hidden"}


def find_all(
    listing: Listing,
    records: Sequence[ImageRecord],
    left_out: Sequence[LeftOut],
    pairs: Sequence[tuple[int, int]] | None = None,
) -> list[Finding]:
    """All findings, the worst first.

    Args:
        listing: what was named.
        records: what was read.
        left_out: what was not.
        pairs: near-duplicates as indices into `records`; looked up when not given.
    """
    pairs = near_pairs(records) if pairs is None else pairs
    copies = exact_copies(records)
    found = [
        *_unread(left_out),
        *_labels(records, copies, pairs),
        *_leaks(records, copies, pairs),
        *_copies(records, copies, pairs),
        *_classes(listing, records),
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
            f"{_n(len(items), 'file')} left out ({reason}): {first.detail}",
            "see the files; convert or remove them. The run goes on without them",
            len(items),
            _each(i.path for i in items),
        )


def _labels(
    records: Sequence[ImageRecord], copies: list[list[int]], pairs: Sequence[tuple[int, int]]
) -> Iterable[Finding]:
    torn = [m for m in copies if len({records[i].label for i in m}) > 1]
    if torn:
        yield Finding(
            "conflicting_labels",
            "error",
            f"{_n(len(torn), 'picture')} under two labels or more",
            "decide on one label; until then every copy is left out of training and test",
            len(torn),
            _groups(records, torn),
        )
    torn = [m for m in _near_sets(records, pairs) if len({records[i].label for i in m}) > 1]
    if torn:
        yield Finding(
            "conflicting_near_duplicates",
            "warning",
            f"{_n(len(torn), 'group')} of nearly the same picture under different labels",
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
            f"{_n(len(leaks), 'group')} of the same or nearly the same picture on both sides of the given split",
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
            f"{_n(len(copies), 'picture')} present more than once ({sum(map(len, copies))} files)",
            "kept on one side of the split; delete the copies to count each picture once",
            len(copies),
            _groups(records, copies),
        )
    near = _near_sets(records, pairs)
    if near:
        yield Finding(
            "near_duplicates",
            "note",
            f"{_n(len(near), 'group')} of nearly the same picture ({sum(map(len, near))} files)",
            "kept on one side of the split: nothing to do",
            len(near),
            _groups(records, near),
        )


def _classes(listing: Listing, records: Sequence[ImageRecord]) -> Iterable[Finding]:
    sizes = Counter(r.label for r in records)
    empty = sorted({*listing.empty_classes, *(e.label for e in listing.entries if e.label)} - set(sizes) - {None})
    if empty:
        yield Finding(
            "empty_classes",
            "warning",
            f"{_n(len(empty), 'class', 'classes')} without a picture that could be read: {_some(empty)}",
            "add pictures, or remove the folder",
            len(empty),
        )
    few = sorted((n, str(label)) for label, n in sizes.items() if n < FEW)
    if few:
        yield Finding(
            "few_pictures",
            "warning",
            f"{_n(len(few), 'class', 'classes')} under {FEW} pictures: {_some(f'{c} ({n})' for n, c in few)}",
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
            message = f"{_n(len(some), 'picture')} {words}"
            hint = "look at them; they are used all the same"
            yield Finding(code, severity, message, hint, len(some), _each(some))


def _is_blurred(record: ImageRecord) -> bool:
    seen = record.contrast >= BLANK and record.brightness >= DARK and min(record.width, record.height) >= TINY
    return seen and record.sharpness < BLURRED


def _near_sets(records: Sequence[ImageRecord], pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    return join_all(len(records), pairs).sets()


def _groups(records: Sequence[ImageRecord], sets: Sequence[Sequence[int]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(records[i].path for i in m) for m in sets[:_LISTED])


def _each(paths: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple((p,) for p in list(paths)[:_LISTED])


def _some(names: Iterable[str], most: int = 6) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def _n(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
