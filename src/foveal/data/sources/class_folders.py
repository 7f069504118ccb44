"""A folder for each class, with the images of the class anywhere below it; maybe in `train/`, `val/`, `test/`."""

from __future__ import annotations

import os

from foveal.data.images.file_kinds import may_be_image
from foveal.data.sources.listing import (
    DataOptions,
    Listing,
    add_file,
    children,
    short_name,
    subset_of,
    walk,
)
from foveal.data.targets.labels import Labels


def list_class_folders(path: str, options: DataOptions) -> Listing | None:
    """Any folder: those in it are classes, or subsets with classes in them.

    Folders with names of subsets hold subsets when all folders do, or when there are `train` and another one. Beside
    class folders they are excluded, unless what is in them and around them says that they are classes.
    """
    if not os.path.isdir(path):
        return None
    root = os.path.abspath(path)
    listing = Listing(short_name(path), root, options.create(Labels))
    tops = list(children(root, listing))
    folders = [e.path for e in tops if e.is_dir()]
    subsets = _subset_folders(folders)
    strays = {} if subsets else _strays(folders)
    several = len({subset_of(os.path.basename(f)) for f in subsets}) > 1
    given = several and any(subset_of(os.path.basename(f)) == "train" for f in subsets)
    for top in tops:
        if not top.is_dir():
            add_file(listing, top.path, None, None)
        elif top.path in subsets:
            for child in children(top.path, listing):
                if child.is_dir():
                    walk(listing, child.path, child.name, subset_of(top.name) if given else None)
                else:
                    add_file(listing, child.path, None, None)
        elif subsets:
            listing.skip(top.path, "no_split", "a folder next to train/, val/ and test/")
        elif top.path in strays:
            listing.skip(top.path, "no_split", strays[top.path])
        else:
            walk(listing, top.path, top.name, None)
    listing.empty_classes = sorted({*listing.empty_classes} - {e.label for e in listing.entries})
    listing.entries.sort(key=lambda e: e.path)
    return listing


def _subset_folders(folders: list[str]) -> set[str]:
    """Folders that hold subsets, each with class folders in it; empty when the folders are classes."""
    named = [f for f in folders if subset_of(os.path.basename(f)) is not None]
    if not any(_folders_in(f) for f in named):
        return set()
    subsets = {subset_of(os.path.basename(f)) for f in named}
    divided = "train" in subsets and len(subsets) > 1
    return set(named) if divided or len(named) == len(folders) else set()


def _strays(folders: list[str]) -> dict[str, str]:
    """Folders such as `test/` beside class folders that are no class themselves, with the reason to exclude them.

    One that holds classes of the same names is a subset. One without any folders may be a class, like any other;
    it is taken for unlabelled images if there are at least two other classes, except for `train`, which is a thing,
    too.
    """
    named = [f for f in folders if subset_of(os.path.basename(f)) is not None]
    classes = {os.path.basename(f) for f in folders if f not in named}
    strays = {}
    for folder in named:
        name = os.path.basename(folder)
        if classes & _folders_in(folder):
            strays[folder] = (
                f"{name}/ holds a subset of the classes beside it; evaluate on it with `foveal evaluate`"
            )
        elif len(classes) >= 2 and subset_of(name) != "train":
            strays[folder] = (
                f"{name}/ beside class folders is taken for unlabelled images; rename it if it is a class"
            )
    return strays


def _folders_in(folder: str) -> set[str]:
    """Names of the visible folders in a folder."""
    try:
        with os.scandir(folder) as scanned:
            return {e.name for e in scanned if e.is_dir() and not e.name.startswith((".", "__MACOSX"))}
    except OSError:
        return set()


def inner_folder(path: str) -> str:
    """The folder that holds the data set: the one inside, where a folder holds nothing but it, as archives do."""
    for _ in range(2):
        try:
            with os.scandir(path) as scanned:
                inside = [e for e in scanned if not e.name.startswith((".", "__MACOSX"))]
        except OSError:
            return path
        folders = [e.path for e in inside if e.is_dir()]
        images = any(may_be_image(e.path) for e in inside if not e.is_dir())
        if len(folders) != 1 or images or subset_of(os.path.basename(folders[0])) is not None:
            return path
        within = _folders_in(folders[0])
        if len(within) < 2 and not any(subset_of(n) for n in within):
            return path
        path = folders[0]
    return path
