"""Helpers for the messages of findings: counts with their nouns, reasons, long lists cut short."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from foveal.values import Excluded

#: Groups of paths that a finding lists at most.
LISTED = 200


def count_of(count: int, one: str, many: str | None = None) -> str:
    """`1 image`, `7 images`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def first_few(names: Iterable[str], most: int = 6) -> str:
    """The first names, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def separate(paths: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Unrelated paths, as groups of one; at most `LISTED`."""
    return tuple((p,) for p in list(paths)[:LISTED])


def by_reason(excluded: Iterable[Excluded]) -> dict[str, list[Excluded]]:
    """What was excluded, by reason code."""
    reasons: dict[str, list[Excluded]] = defaultdict(list)
    for item in excluded:
        reasons[item.reason].append(item)
    return reasons


def excluded_because(reason: str, items: Sequence[Excluded]) -> str:
    """How many files were excluded for one reason; each detail that occurs, with its count if there are several."""
    details = Counter(item.detail for item in items).most_common()
    several = len(details) > 1
    words = first_few((f"{detail} ({n})" if several else detail for detail, n in details), most=4)
    return f"{count_of(len(items), 'file')} excluded ({reason}): {words}"
