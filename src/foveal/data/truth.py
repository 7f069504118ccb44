"""What is known of each picture: a label, or a mask. The stages of the data ask this, never which task it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from foveal.data.labels import Labels
from foveal.data.masks import Masks
from foveal.values import Finding, ImageRecord, LeftOut, Placed, Split

if TYPE_CHECKING:
    from foveal.data.listing import Listing


class Truth(Protocol):
    """What all kinds of truth can do.

    Attributes:
        task: the name of what is learned from it.
        answers: what it is called, in the plural.
        few_sets: whether the pictures may come in so few sets that each side has to be dealt its own.
    """

    task: str
    answers: str
    few_sets: bool

    def settle(self, records: Sequence[ImageRecord]) -> tuple[list[ImageRecord], list[LeftOut], list[Finding]]:
        """What only all pictures together can tell; records that it refuses, and what it found on the way."""
        ...

    def answer(self, record: ImageRecord) -> str | None:
        """What two pictures have in common when they are said to be the same."""
        ...

    def neighbours(self, records: Sequence[ImageRecord]) -> list[list[int]]:
        """Pictures that must stay on one side because they follow each other, as indices."""
        ...

    def too_near(self, records: Sequence[ImageRecord]) -> list[tuple[int, int]]:
        """Pairs that need not stay together, but must not be torn between training and a held-out side."""
        ...

    def classes(self, records: Sequence[ImageRecord]) -> dict[str, int]:
        """In how many pictures each class occurs."""
        ...

    def findings(self, listing: Listing, records: Sequence[ImageRecord]) -> Iterable[Finding]:
        """What is wrong, or worth knowing, about classes."""
        ...

    def split(self, placed: Sequence[Placed], out: Sequence[LeftOut]) -> Split:
        """The split, when there is enough to learn from.

        Raises:
            DataError: when there is not.
        """
        ...

    def reopened(self, placed: Sequence[Placed], out: Sequence[LeftOut]) -> Split:
        """The split of an earlier run, as it was."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """As `audit.json` keeps it."""
        ...


_KINDS: dict[str, type[Labels] | type[Masks]] = {"classify": Labels, "segment": Masks}


def truth_of(audited: Mapping[str, Any]) -> Truth:
    """Back from an `audit.json`.

    Raises:
        KeyError, TypeError: when it is damaged.
    """
    return _KINDS[audited.get("task", "classify")].from_dict(audited)
