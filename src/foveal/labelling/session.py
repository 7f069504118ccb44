"""A person's session: what is shown next, and what each action does to labels, journal and CSV.

A session is shared by the threads of a server and by the one that reads images; a lock lets one of them in at a time.
"""

from __future__ import annotations

import hashlib
import os
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.data.wording import count_of
from foveal.engines.base import Features
from foveal.errors import UsageError
from foveal.files import encoded, sha256_of, write_bytes
from foveal.harmless import one_line
from foveal.labelling import space
from foveal.labelling.catalog import Catalog
from foveal.labelling.journal import Journal
from foveal.labelling.ranking import (
    Guess,
    Proposal,
    is_mixed,
    novelty_of,
    propose,
    surest,
    usual_cosine,
    without_denied,
)
from foveal.labelling.state import BY_HAND, LEFT_OUT, REST, Patch, key_of
from foveal.labelling.table import name_in_table, read_table, table_text
from foveal.values import ImageRecord

#: Characters of a label.
LONGEST_LABEL = 100
#: Images of one class that are shown at once for a review.
MOST_REVIEWED = 300
#: Prefix of groups that were formed by similarity alone.
_FORMED = "g"


class Gone(UsageError):
    """What an action is about is not there any more; `code` says so to a page."""

    code = "gone"


@dataclass(frozen=True)
class Group:
    """Some images that are shown together.

    Attributes:
        name: its name, for actions.
        items: numbers of its images.
        proposal: label, order and selection.
        mean: of the points of its images, `(d,)`.
        cover: number of the image that is most like all of them.
    """

    name: str
    items: list[int]
    proposal: Proposal
    mean: Features = field(repr=False)
    cover: int = 0


@dataclass
class _View:
    """What is derived from catalog and state; made anew after each change."""

    labels: dict[int, str]
    counts: Counter[str]
    groups: dict[str, Group]
    guess: Guess
    rows: dict[int, int]


class _Nearest:
    """The cosine between each image and the most similar labelled one; new labels only add to it."""

    def __init__(self, points: Features) -> None:
        self._points, self._known = points, frozenset[int]()
        self._cosines = space.nearest(points, points[:0])

    def of(self, items: Sequence[int], labelled: Iterable[int]) -> NDArray[np.float32]:
        """Of some images, `(N,)`."""
        now = frozenset(labelled)
        if not self._known <= now:
            self._known, self._cosines = frozenset(), space.nearest(self._points, self._points[:0])
        if new := sorted(now - self._known):
            self._cosines = np.maximum(self._cosines, space.nearest(self._points, self._points[new]))
            self._known = now
        result: NDArray[np.float32] = self._cosines[list(items)]
        return result


def _first(values: Mapping[str, str], keys: Iterable[str]) -> str | None:
    """The value of the first key that has one."""
    for key in keys:
        if (value := values.get(key)) is not None:
            return value
    return None


class Session:
    """See the module.

    Args:
        journal: opened; the session restores from it and writes to it.
        table: the CSV.
        goal: images that each class should have.
    """

    def __init__(self, journal: Journal, table: Path, *, goal: int) -> None:
        self.table, self.goal = table, goal
        self.catalog = Catalog()
        self._journal = journal
        self._lock = threading.RLock()
        self._folder = os.path.abspath(table.parent)
        self._written = read_table(table)
        self._points: Features = np.zeros((0, 0), dtype=np.float32)
        self._usual = 1.0
        self._near = _Nearest(self._points)
        self._rows: dict[int, list[tuple[str, str]]] = {}
        self._made: _View | None = None
        self._open: str | None = None
        self._numbers = 0
        self._on_disk = sha256_of(table) if table.exists() else None
        self._adopt_edits()

    # ── reading ──

    def add(self, records: Sequence[ImageRecord], features: Features) -> None:
        """Take in more images; called by one thread. Groups that nobody works on are formed anew where that pays.

        Args:
            records: `(M,)`.
            features: of these, `(M, D)`.
        """
        if not len(records):
            return
        catalog = self.catalog.extended(records, features)
        points = space.points_of(catalog.features)
        usual = usual_cosine(points)
        with self._lock:
            self.catalog, self._points, self._usual, self._made = catalog, points, usual, None
            self._near = _Nearest(points)
            self._adopt_rows(records)
            self._name_rows()
            free = self._free_items()
        found = space.clusters(points[free]) if free else []
        with self._lock:
            still = set(self._free_items())
            groups: dict[str, str | None] = {}
            for rows in found:
                name = self._new_name(_FORMED)
                kept = [free[row] for row in rows if free[row] in still]
                groups |= {key: name for item in kept for key in catalog.keys(item)}
            if groups:
                self._journal.do(Patch(groups=groups))
            self._made = None
            self._write()

    def _free_items(self) -> list[int]:
        """Images to form groups of: those in none, and, where these are many, all that nobody has arranged."""
        groups = self._journal.history.state.groups
        unlabelled = [item for item in self.catalog.items if self._label_of(item) is None]
        names = {item: self._group_of(item, groups) for item in unlabelled}
        new = [item for item in unlabelled if names[item] is None]
        formed = [
            item for item in unlabelled if (names[item] or "").startswith(_FORMED) and names[item] != self._open
        ]
        return sorted([*new, *formed]) if len(new) >= len(formed) else new

    def _group_of(self, item: int, groups: Mapping[str, str]) -> str | None:
        return _first(groups, self.catalog.keys(item))

    def _label_of(self, item: int) -> str | None:
        return _first(self._journal.history.state.labels, self.catalog.keys(item))

    # ── what is shown ──

    def groups(self) -> list[Group]:
        """All groups of images without a label, what is most worth labelling first; those put off come last."""
        with self._lock:
            later = self._journal.history.state.later
            made = self._view().groups.values()
            return sorted(made, key=lambda g: (later.get(g.name, 0), -g.proposal.worth, g.name))

    def open(self, name: str | None = None) -> Group | None:
        """The group of a name, or the first one; it keeps its images while others are formed anew.

        Raises:
            Gone: when there is none of this name.
        """
        with self._lock:
            group = self._found(name) if name is not None else next(iter(self.groups()), None)
            self._open = group.name if group else None
            return group

    def similar(self, group: Group) -> Group | None:
        """The group that is most like another one."""
        with self._lock:
            others = [other for other in self._view().groups.values() if other.name != group.name]
            return max(others, key=lambda other: float(other.mean @ group.mean), default=None)

    def review(self, label: str) -> list[int]:
        """Images with a label, those that the others speak against first; at most `MOST_REVIEWED`."""
        with self._lock:
            labels = self._view().labels
            items = [item for item, known in labels.items() if known == label]
            given = [item for item, known in labels.items() if known != LEFT_OUT]
            if label == LEFT_OUT or not items:
                return items[:MOST_REVIEWED]
            names = [labels[item] for item in given]
            classes, p = space.probabilities(self._points[items], self._points[given], names)
            order = np.argsort(p[:, classes.index(label)], kind="stable")
            return [items[row] for row in order[:MOST_REVIEWED]]

    def counts(self) -> dict[str, int]:
        """Images of each class, near-duplicates once, in the order in which the classes were first named."""
        with self._lock:
            counts = self._view().counts
            first = dict.fromkeys(self._journal.history.state.labels.values())
            return {label: counts[label] for label in first if label != LEFT_OUT and counts[label]}

    def label_counts(self) -> tuple[int, int, int]:
        """Images that are shown, near-duplicates once; labelled ones among them; those left out."""
        with self._lock:
            labels = self._view().labels
            left_out = sum(label == LEFT_OUT for label in labels.values())
            return len(self.catalog.items), len(labels) - left_out, left_out

    @property
    def undoable(self) -> str | None:
        """What `undo` would take back, in words."""
        return self._journal.history.last

    def _view(self) -> _View:
        if self._made is None:
            labels = {i: label for i in self.catalog.items if (label := self._label_of(i)) is not None}
            counts = Counter(label for label in labels.values() if label != LEFT_OUT)
            open_items = [item for item in self.catalog.items if item not in labels]
            guess = self._guess(open_items, labels)
            rows = {item: row for row, item in enumerate(open_items)}
            self._made = _View(labels, counts, {}, guess, rows)
            self._made.groups = self._grouped(open_items, self._made)
        return self._made

    def _guess(self, items: list[int], labels: Mapping[int, str]) -> Guess:
        given = [item for item, label in labels.items() if label != LEFT_OUT]
        if not given or not items:
            return Guess((), np.zeros((len(items), 0), dtype=np.float32), np.ones(len(items), dtype=np.float32))
        points, known = self._points[items], self._points[given]
        classes, p = space.probabilities(points, known, [labels[item] for item in given])
        guess = Guess(classes, p, novelty_of(self._near.of(items, given), self._usual))
        denied = self._journal.history.state.denied
        if not denied:
            return guess
        ruled_out = [next((denied[k] for k in self.catalog.keys(i) if k in denied), ()) for i in items]
        return Guess(classes, without_denied(guess, ruled_out), guess.novelty)

    def _grouped(self, items: list[int], view: _View) -> dict[str, Group]:
        groups = self._journal.history.state.groups
        members: dict[str, list[int]] = {}
        for item in items:
            if (name := self._group_of(item, groups)) is not None:
                members.setdefault(name, []).append(item)
        rest = members.pop(REST, [])
        for name in [name for name in members if name.startswith(_FORMED) and name != self._open]:
            rows = [view.rows[item] for item in members[name]]
            if is_mixed(view.guess.at(rows)):
                rest += members.pop(name)
        for item in sorted(rest):
            likely = f"{REST}:{self._likely(view.guess, view.rows[item])}"
            members.setdefault(likely, []).append(item)
        return {name: self._group(name, found, view) for name, found in members.items()}

    def _likely(self, guess: Guess, row: int) -> str:
        """The class that an image seems to be of; empty for none."""
        p = guess.probabilities[row]
        return guess.classes[int(p.argmax())] if p.size and p.max() > 0 else ""

    def _group(self, name: str, items: list[int], view: _View) -> Group:
        guess = view.guess.at([view.rows[item] for item in items])
        if name.startswith(f"{REST}:"):
            rows = surest(guess, space.MOST_IN_GROUP)
            items, guess = [items[row] for row in rows], guess.at(rows)
        points = self._points[items]
        mean = points.mean(axis=0)
        cover = items[int((points @ mean).argmax())]
        return Group(name, items, propose(points, guess, view.counts, self.goal), mean, cover)

    def _found(self, name: str) -> Group:
        group = self._view().groups.get(name)
        if group is None:
            raise Gone("this group is not there any more", hint="go on with the next one")
        return group

    # ── actions ──

    def label(self, label: str, images: Iterable[int], others: Iterable[int] = ()) -> None:
        """Give a label to images.

        Args:
            label: a name; a known class in other capitals is that class.
            images: numbers of images that were shown.
            others: numbers of images that were shown with them and do not have it.

        Raises:
            UsageError: for a label that is none, or no image.
        """
        with self._lock:
            label = self._checked_label(label)
            state = self._journal.history.state
            named, rest = self._keys(images), self._keys(others)
            patch = Patch(
                f"{label}: {count_of(len(set(images)), 'image')}",
                labels=dict.fromkeys(named, label),
                groups={key: REST for key in rest if key not in state.labels},
                denied={key: (*state.denied.get(key, ()), label) for key in rest},
            )
            self._do(patch)

    def leave_out(self, images: Iterable[int]) -> None:
        """Images that take no part in the training: they are not in the CSV.

        Raises:
            UsageError: when there is none.
        """
        with self._lock:
            words = f"left out: {count_of(len(set(images)), 'image')}"
            self._do(Patch(words, labels=dict.fromkeys(self._keys(images), LEFT_OUT)))

    def take_back(self, images: Iterable[int]) -> None:
        """Images whose label is removed.

        Raises:
            UsageError: when there is none.
        """
        with self._lock:
            keys = self._keys(images)
            words = f"label removed: {count_of(len(set(images)), 'image')}"
            self._do(Patch(words, labels=dict.fromkeys(keys, None), groups=dict.fromkeys(keys, REST)))

    def split(self, name: str) -> list[str]:
        """Divide a group in two; the names of both.

        Raises:
            Gone: when there is no such group.
            UsageError: when it has one image.
        """
        with self._lock:
            items = self._found(name).items
            if len(items) < 2:
                raise UsageError("one image can't be split", hint="name it, or leave it out")
            groups: dict[str, str | None] = {}
            names = []
            for rows in space.halves(self._points[items]):
                names.append(self._new_name(BY_HAND))
                groups |= dict.fromkeys(self._keys(items[row] for row in rows), names[-1])
            self._do(Patch(f"split: {count_of(len(items), 'image')}", groups=groups))
            return names

    def merge(self, name: str, other: str) -> str:
        """Make one group of two; its name.

        Raises:
            Gone: when one of them is not there.
            UsageError: when they are the same.
        """
        with self._lock:
            items = [*self._found(name).items, *self._found(other).items]
            if name == other:
                raise UsageError("a group can't be merged with itself", hint="choose another one")
            made = self._new_name(BY_HAND)
            groups = dict.fromkeys(self._keys(items), made)
            self._do(Patch(f"merged: {count_of(len(items), 'image')}", groups=groups))
            return made

    def put_off(self, name: str) -> None:
        """Show a group after all others.

        Raises:
            Gone: when there is no such group.
        """
        with self._lock:
            group, later = self._found(name), self._journal.history.state.later
            words = f"put off: {count_of(len(group.items), 'image')}"
            self._do(Patch(words, later={name: 1 + max(later.values(), default=0)}))

    def rename(self, label: str, new: str) -> None:
        """Give another name to a class; a name that another class has makes one class of two.

        Raises:
            UsageError: for a label that is none, or a class that is not there.
        """
        with self._lock:
            state = self._journal.history.state
            keys = [key for key, known in state.labels.items() if known == label and label != LEFT_OUT]
            if not keys:
                raise UsageError("there is no such class", hint="reload the page")
            new = self._checked_label(new, instead_of=label)
            self._do(Patch(f"{label} renamed to {new}", labels=dict.fromkeys(keys, new)))

    def undo(self) -> str | None:
        """Take back the last action; what it was, in words, or None when there is none."""
        with self._lock:
            words = self._journal.history.last
            if self._journal.undo():
                self._made = None
                self._write()
            return words

    def _do(self, patch: Patch) -> None:
        if not patch.labels and not patch.groups and not patch.later:
            raise UsageError("no image is selected", hint="select some images first")
        self._journal.do(patch)
        self._made = None
        self._write()

    def _keys(self, images: Iterable[int]) -> list[str]:
        """Keys of images that are shown, with those of their near-duplicates.

        Raises:
            UsageError: for a number that no image has.
        """
        numbers = list(dict.fromkeys(images))
        if unknown := [n for n in numbers if n not in self.catalog.items]:
            raise UsageError(f"there is no image {unknown[0]}", hint="reload the page")
        return [key for number in numbers for key in self.catalog.keys(number)]

    def _checked_label(self, label: str, *, instead_of: str | None = None) -> str:
        text = unicodedata.normalize("NFC", label).strip()
        hint = "a word such as cat"
        if not text:
            raise UsageError("a label needs a name", hint=hint)
        if len(text) > LONGEST_LABEL:
            raise UsageError(f"a label has at most {LONGEST_LABEL} characters", hint=hint)
        if one_line(text) != text or not text.isprintable():
            raise UsageError("a label has visible characters only", hint=hint)
        known = {name.casefold(): name for name in self._view().counts if name != instead_of}
        return known.get(text.casefold(), text)

    def _new_name(self, prefix: str) -> str:
        state = self._journal.history.state
        if not self._numbers:
            taken = (name[1:] for name in (*state.groups.values(), *state.later))
            self._numbers = max((int(digits) for digits in taken if digits.isdecimal()), default=0)
        self._numbers += 1
        return f"{prefix}{self._numbers}"

    # ── the CSV ──

    def _write(self) -> None:
        """The CSV as it is now; rows of images that were not read yet stay as they were."""
        rows = dict(self._written)
        for item, label in self._view().labels.items():
            if label:
                rows |= {name: (label, sha256) for name, sha256 in self._rows[item]}
        text = table_text((path, *rows[path]) for path in sorted(rows))
        content = encoded(text)
        digest = hashlib.sha256(content).hexdigest()
        if digest != self._on_disk:
            if self._journal.known_tables[-1:] != [digest]:
                self._journal.note_table(digest)
            write_bytes(self.table, content)
            self._on_disk = digest

    def _name_rows(self) -> None:
        """The rows that each image has in the CSV when it is labelled; they replace those that were found there."""
        self._rows = {}
        for shown, members in self.catalog.items.items():
            paths = [(path, self.catalog.records[m].sha256) for m in members for path in self.catalog.paths[m]]
            self._rows[shown] = [(name_in_table(path, self._folder), sha256) for path, sha256 in paths]
            for path, _ in paths:
                self._written.pop(path, None)
            for name, _ in self._rows[shown]:
                self._written.pop(name, None)

    def _adopt_edits(self) -> None:
        """Where another program changed the CSV, what it says holds: labels by SHA-256, and labels that are gone."""
        if self._on_disk is None or self._on_disk in self._journal.known_tables:
            return
        known = self._journal.history.state.labels
        said = {key_of(sha256): label for label, sha256 in self._written.values() if sha256 and label}
        gone = [key for key, label in known.items() if label != LEFT_OUT and key not in said]
        self._adopt({**dict.fromkeys(gone, None), **{k: v for k, v in said.items() if known.get(k) != v}})

    def _adopt_rows(self, records: Sequence[ImageRecord]) -> None:
        """Rows that a person added to the CSV without a SHA-256 hold once their image is read."""
        known = self._journal.history.state.labels
        labels: dict[str, str | None] = {}
        for record in records:
            name, key = name_in_table(record.path, self._folder), key_of(record.sha256)
            label, sha256 = self._written.get(name) or self._written.get(record.path) or ("", "")
            if label and not sha256 and key not in known:
                labels[key] = label
        self._adopt(labels)

    def _adopt(self, labels: dict[str, str | None]) -> None:
        if labels:
            words = f"read from {self.table.name}: {count_of(len(labels), 'label')}"
            self._journal.do(Patch(words, labels=labels))
            self._made = None
