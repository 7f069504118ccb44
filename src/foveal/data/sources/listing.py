"""What DATA names, as it is collected: images to read, and all that is skipped, with its reason."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from foveal.config import TrainConfig
from foveal.data.images.file_kinds import may_be_image
from foveal.data.targets.registry import AUTO, find_target, targets
from foveal.data.targets.target import Target
from foveal.values import Entry, Excluded, Subset

#: Words for subsets, in names of folders and in the column `split`.
_SUBSET_WORDS: dict[str, Subset] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation"), "test"),
}
#: What such a word may be followed by: `train_set`, `Test Images`.
_SUBSET_NAME = re.compile(r"([a-z]+?)(?:[ _-]?(?:set|data|dataset|images|imgs|split))?")


def subset_of(name: str) -> Subset | None:
    """The subset that a name stands for, in any case and usual spelling; None for any other name."""
    match = _SUBSET_NAME.fullmatch(name.strip().lower())
    return _SUBSET_WORDS.get(match[1]) if match else None


@dataclass(frozen=True)
class DataOptions:
    """What the user said about DATA besides its name.

    Attributes:
        task: of a registered target; `auto`: the data decides.
        group_by: regular expression on the path relative to the root; see `TrainConfig.group_by`.
        classes: file with the names of the classes in masks.
        ignore: class or value in masks to ignore.
        label_from: regular expression that finds labels in paths; see `TrainConfig.label_from`.
        corrections: table of other labels, see `corrections.apply_corrections`.
        label_separator: what stands between the labels in one cell of a table; see `TrainConfig.label_separator`.
        say: is told what takes long, such as a download.
    """

    task: str = AUTO
    group_by: str | None = None
    classes: str | None = None
    ignore: str | None = None
    label_from: str | None = None
    corrections: str | None = None
    label_separator: str | None = None
    say: Callable[[str], None] = field(default=lambda _: None, compare=False)

    @classmethod
    def of(cls, config: TrainConfig, say: Callable[[str], None] = lambda _: None) -> DataOptions:
        """From the settings of a run."""
        return cls(
            config.task,
            config.group_by,
            config.classes,
            config.void,
            config.label_from,
            config.corrections,
            config.label_separator,
            say,
        )

    @property
    def wanted(self) -> type[Target] | None:
        """The target that was asked for.

        Raises:
            UnknownName: when no target has this task.
        """
        return None if self.task == AUTO else find_target(self.task)

    def accepts(self, usual: type[Target]) -> bool:
        """Whether a layout that usually holds `usual` can hold what was asked for."""
        return self.wanted is None or self.wanted.annotation == usual.annotation

    def candidates(self) -> list[type[Target]]:
        """All targets, the one that was asked for first."""
        return sorted(targets(), key=lambda kind: kind is not self.wanted)

    def create(self, usual: type[Target], folders: Sequence[str] = ()) -> Target:
        """The target of a layout: the one that was asked for where it can hold it, otherwise `usual`."""
        kind = self.wanted if self.wanted is not None and self.accepts(usual) else usual
        return kind.create(folders, classes=self.classes, ignore=self.ignore)


@dataclass
class Listing:
    """What DATA names.

    Attributes:
        name: short, for the run folder.
        root: the folder that paths are shown relative to.
        target: what is to be learned about each image.
        entries: images to read, in a stable order.
        excluded: what was skipped while listing, and why.
        empty_classes: class folders without a single file.
    """

    name: str
    root: str
    target: Target
    entries: list[Entry] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)
    empty_classes: list[str] = field(default_factory=list)

    @property
    def task(self) -> str:
        """The name of the target's task."""
        return self.target.task

    @property
    def declared_classes(self) -> set[str]:
        """Classes that folders or rows name, with readable images or without."""
        labels = {e.label for e in self.entries if e.label}
        return {*self.empty_classes, *(name for label in labels for name in self.target.names(label))}

    def skip(self, path: str, reason: str, detail: str, label: str | None = None) -> None:
        """Note a file or folder that is skipped."""
        self.excluded.append(Excluded(path, reason, detail, label))


#: One form of DATA: a path as the user gave it to what it names; None when the path is not of this form.
Source = Callable[[str, DataOptions], Listing | None]


def short_name(path: str) -> str:
    """The last part of a path, fit for the name of a folder."""
    base = os.path.basename(os.path.abspath(path))
    return re.sub(r"[^\w.-]+", "-", base.encode("utf-8", "replace").decode())[:60] or "data"


def walk(listing: Listing, folder: str, label: str | None, split: Subset | None) -> None:
    """Every file below a folder, with its label, which may be settled later; a folder reached twice (a circular link)
    is entered once.
    """
    before = len(listing.entries) + len(listing.excluded)
    root = os.stat(listing.root)
    entered = set() if folder == listing.root else {(root.st_dev, root.st_ino)}
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
            elif may_be_image(child.path):
                listing.entries.append(Entry(child.path, label, split))
            else:
                listing.skip(child.path, "not_a_picture", "by its name", label)
    if label is not None and len(listing.entries) + len(listing.excluded) == before:
        listing.empty_classes.append(label)


def children(folder: str, listing: Listing, label: str | None = None) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder by name; hidden and unreadable ones are noted."""
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda e: e.name)
    except OSError as error:
        listing.skip(folder, "unreadable_folder", str(error.strerror), label)
        return
    for child in entries:
        if child.name.startswith((".", "__MACOSX")):
            kind = "hidden folder" if child.is_dir(follow_symlinks=False) else "hidden file"
            listing.skip(child.path, "hidden", kind, label)
        elif child.is_symlink() and not os.path.exists(child.path):
            listing.skip(child.path, "missing", "a broken or circular link", label)
        else:
            yield child


def add_file(listing: Listing, path: str, label: str | None, split: Subset | None) -> None:
    """A file with its label; noted instead when its name is not that of an image, or it has no label."""
    if not may_be_image(path):
        listing.skip(path, "not_a_picture", "by its name", label)
    elif label is None:
        listing.skip(path, "no_label", "outside every class folder")
    else:
        listing.entries.append(Entry(path, label, split))
