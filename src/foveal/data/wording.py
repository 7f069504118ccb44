"""Helpers for the messages of findings: counts with their nouns, long lists cut short."""

from __future__ import annotations

from collections.abc import Iterable

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
