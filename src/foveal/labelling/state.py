"""What a person has said so far, as a value that changes by patches. A patch has an inverse, which is the undo.

Images are named by keys, the first 16 hexadecimal digits of the SHA-256 of their content: a file that is renamed keeps
its label, and exact copies share theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from foveal.errors import DataError

T = TypeVar("T")

#: The label of an image that takes no part in the training.
LEFT_OUT = ""
#: The group of images that stayed behind when the rest of their group was labelled.
REST = "rest"
#: The first letter of groups that a person made, by splitting or merging; others may be formed anew.
BY_HAND = "h"
_KEY_DIGITS = 16


def key_of(sha256: str) -> str:
    """The name of an image in states and journals."""
    return sha256[:_KEY_DIGITS]


@dataclass
class State:
    """Labels and groups.

    Attributes:
        labels: key → label, or `LEFT_OUT`; images without a label are missing.
        groups: key → group.
        denied: key → labels that a person did not give although they were offered.
        later: group → a number; groups that were put off have one, the last of them the largest.
    """

    labels: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    denied: dict[str, tuple[str, ...]] = field(default_factory=dict)
    later: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Patch:
    """New values for parts of a state; None removes one.

    Attributes:
        words: what was done, for the person who may undo it; empty for what no person did.
        labels, groups, denied, later: as in `State`.
    """

    words: str = ""
    labels: Mapping[str, str | None] = field(default_factory=dict)
    groups: Mapping[str, str | None] = field(default_factory=dict)
    denied: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    later: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def by_user(self) -> bool:
        """Whether a person did it, and can undo it."""
        return self.words != ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values: keys are listed by their new value, which is short where many share one."""
        values = {
            "labels": _by_value(self.labels),
            "groups": _by_value(self.groups),
            "denied": [[None if v is None else list(v), keys] for v, keys in _by_value(self.denied)],
            "later": _by_value(self.later),
        }
        return {"do": self.words, **{name: listed for name, listed in values.items() if listed}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Patch:
        """Restored from `to_dict`.

        Raises:
            DataError: when the values are not those of a patch.
        """
        denied = [[v if v is None else tuple(v), keys] for v, keys in _listed(values, "denied", list)]
        return cls(
            str(values["do"]),
            _flat(_listed(values, "labels", str)),
            _flat(_listed(values, "groups", str)),
            _flat(denied),
            _flat(_listed(values, "later", int)),
        )


class History:
    """A state with what led to it.

    Attributes:
        state: as it is now; only `do` and `undo` change it.
    """

    def __init__(self) -> None:
        self.state = State()
        self._inverses: list[Patch] = []

    @property
    def last(self) -> str | None:
        """What `undo` would take back, in words; None when there is nothing."""
        return self._inverses[-1].words if self._inverses else None

    def do(self, patch: Patch) -> None:
        """Change the state."""
        inverse = self._put(patch)
        if patch.by_user:
            self._inverses.append(inverse)

    def undo(self) -> bool:
        """Take back the last thing that a person did, and nothing that happened since; whether there was one."""
        if not self._inverses:
            return False
        self._put(self._inverses.pop())
        return True

    def _put(self, patch: Patch) -> Patch:
        """Change the state; the patch that changes it back."""
        state = self.state
        inverse = Patch(
            patch.words,
            _before(state.labels, patch.labels),
            _before(state.groups, patch.groups),
            _before(state.denied, patch.denied),
            _before(state.later, patch.later),
        )
        _change(state.labels, patch.labels)
        _change(state.groups, patch.groups)
        _change(state.denied, patch.denied)
        _change(state.later, patch.later)
        return inverse


def _before(values: Mapping[str, T], new: Iterable[str]) -> dict[str, T | None]:
    return {key: values.get(key) for key in new}


def _change(values: dict[str, T], new: Mapping[str, T | None]) -> None:
    for key, value in new.items():
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value


def _by_value(changes: Mapping[str, T | None]) -> list[tuple[T | None, list[str]]]:
    listed: dict[T | None, list[str]] = {}
    for key, value in changes.items():
        listed.setdefault(value, []).append(key)
    return list(listed.items())


def _flat(listed: Iterable[Any]) -> dict[str, Any]:
    return {key: value for value, keys in listed for key in keys}


def _listed(values: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    """`[value, keys]` pairs, checked."""
    listed: list[Any] = values.get(name, [])
    for pair in listed if isinstance(listed, list) else [None]:
        good = isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], list)
        if not good or not (pair[0] is None or isinstance(pair[0], kind)):
            raise DataError(f"{name}: {str(pair)[:60]} is no change", hint="the journal is damaged")
        if not all(isinstance(key, str) for key in pair[1]):
            raise DataError(f"{name}: a key that is no text", hint="the journal is damaged")
    return list(listed)
