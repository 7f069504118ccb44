"""A folder for each class, with the images of the class anywhere below it; maybe in `train/`, `val/`, `test/`."""

from __future__ import annotations

import os

from foveal.data.sources.listing import SUBSET_NAMES, DataOptions, Listing, add_file, children, short_name, walk
from foveal.data.targets.labels import Labels


def list_class_folders(path: str, options: DataOptions) -> Listing | None:
    """Any folder: those in it are classes, or subsets with classes in them."""
    if not os.path.isdir(path):
        return None
    root = os.path.abspath(path)
    listing = Listing(short_name(path), root, options.create(Labels))
    tops = list(children(root, listing))
    subsets = {
        entry.name: SUBSET_NAMES[entry.name.lower()] for entry in tops if entry.name.lower() in SUBSET_NAMES
    }
    given = {e.name for e in tops if e.name in subsets and e.is_dir()}
    by_subset = "train" in {subsets[n] for n in given} and len(given) > 1
    for top in tops:
        if not top.is_dir():
            add_file(listing, top.path, None, None)
        elif by_subset and top.name in given:
            for child in children(top.path, listing):
                if child.is_dir():
                    walk(listing, child.path, child.name, subsets[top.name])
                else:
                    add_file(listing, child.path, None, None)
        elif by_subset:
            listing.skip(top.path, "no_split", "a folder next to train/, val/ and test/")
        else:
            walk(listing, top.path, top.name, None)
    listing.entries.sort(key=lambda e: e.path)
    return listing
