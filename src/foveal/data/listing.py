"""What DATA names, as it is collected: pictures to read, and all that is passed over, with its reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from foveal.config import TrainConfig
from foveal.data.labels import Labels
from foveal.data.truth import Truth
from foveal.values import Entry, LeftOut

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_CLUTTER = {"thumbs.db", "desktop.ini", "icon\r"}
#: Files beside pictures that nobody takes for pictures: passed over as `not_a_picture` without being read.
_OTHER = {
    *(".txt", ".csv", ".json", ".jsonl", ".xml", ".md", ".html"),
    *(".yaml", ".yml", ".py", ".zip", ".db", ".ini"),
}


@dataclass(frozen=True)
class Wanted:
    """What the user said about DATA besides its name.

    Attributes:
        task: `classify` or `segment`; `auto`: as the data look.
        group_by: regular expression on the path relative to the root; see `TrainConfig.group_by`.
        classes: file with the names of the classes in masks.
        void: class or number in masks that says "nobody knows".
    """

    task: str = "auto"
    group_by: str | None = None
    classes: str | None = None
    void: str | None = None

    @classmethod
    def of(cls, config: TrainConfig) -> Wanted:
        """From the settings of a run."""
        return cls(config.task, config.group_by, config.classes, config.void)


@dataclass
class Listing:
    """What DATA names.

    Attributes:
        name: short, for the run folder.
        root: the folder that paths are shown relative to.
        entries: pictures to read, in a stable order.
        left_out: what was passed over while listing, and why.
        empty_classes: class folders without a single file.
        truth: what is known of each picture.
    """

    name: str
    root: str
    entries: list[Entry] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    empty_classes: list[str] = field(default_factory=list)
    truth: Truth = field(default_factory=Labels)

    @property
    def task(self) -> str:
        """What can be learned from them."""
        return self.truth.task

    def skip(self, path: str, reason: str, detail: str, label: str | None = None) -> None:
        """Note a file or folder that is passed over."""
        self.left_out.append(LeftOut(path, reason, detail, label))


def walk(listing: Listing, folder: str, label: str, split: str | None) -> None:
    """Every file below a class folder; a folder reached twice (a link in a circle) is entered once."""
    before = len(listing.entries) + len(listing.left_out)
    root = os.stat(listing.root)
    entered = {(root.st_dev, root.st_ino)}
    todo = [folder]
    while todo:
        here = todo.pop()
        try:
            status = os.stat(here)
        except OSError as error:
            listing.skip(here, "unreadable_folder", str(error.strerror), label)
            continue
        if (status.st_dev, status.st_ino) in entered:
            listing.skip(here, "symlink_loop", "a link to a folder that was already read", label)
            continue
        entered.add((status.st_dev, status.st_ino))
        for child in children(here, listing, label):
            if child.is_dir():
                todo.append(child.path)
            else:
                add_file(listing, child.path, label, split)
    if len(listing.entries) + len(listing.left_out) == before:
        listing.empty_classes.append(label)


def children(folder: str, listing: Listing, label: str | None = None) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder, by name; hidden things and what can't be read are noted."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda e: e.name)
    except OSError as error:
        listing.skip(folder, "unreadable_folder", str(error.strerror), label)
        return
    for child in entries:
        if child.name.startswith((".", "__MACOSX")):
            kind = "hidden folder" if child.is_dir(follow_symlinks=False) else "hidden file"
            listing.skip(child.path, "hidden", kind, label)
        elif child.is_symlink() and not os.path.exists(child.path):
            listing.skip(child.path, "missing", "a link that leads nowhere, or in a circle", label)
        else:
            yield child


def add_file(listing: Listing, path: str, label: str | None, split: str | None) -> None:
    """A file with its label; noted instead when it is no picture by its name, or has no label."""
    if passed_over(path):
        listing.skip(path, "not_a_picture", "by its name", label)
    elif label is None:
        listing.skip(path, "no_label", "lies outside every class folder")
    else:
        listing.entries.append(Entry(path, label, split))


def passed_over(path: str) -> bool:
    """Whether nobody takes this file for a picture."""
    name = os.path.basename(path).lower()
    return name in _CLUTTER or os.path.splitext(name)[1] in _OTHER
