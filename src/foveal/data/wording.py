"""How findings speak: numbers with their nouns, long lists cut short."""

from __future__ import annotations

from collections.abc import Iterable

#: Groups of paths that a finding lists at most.
LISTED = 200


def n_of(count: int, one: str, many: str | None = None) -> str:
    """`1 picture`, `7 pictures`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def some(names: Iterable[str], most: int = 6) -> str:
    """The first names, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def each(paths: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Paths that have nothing to do with each other, as groups of one."""
    return tuple((p,) for p in list(paths)[:LISTED])
