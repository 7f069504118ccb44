"""A folder of images whose labels are in their names: `cat.001.jpg` with `--label-from`."""

from __future__ import annotations

import os
from dataclasses import replace

from foveal.config import compile_label_from
from foveal.data.sources.listing import DataOptions, Listing, short_name, walk
from foveal.data.targets.labels import Labels


def list_file_names(path: str, options: DataOptions) -> Listing | None:
    """Every image below a folder, labelled by what `label_from` captures; None where that is not given."""
    if options.label_from is None or not os.path.isdir(path):
        return None
    pattern = compile_label_from(options.label_from)
    root = os.path.abspath(path)
    listing = Listing(short_name(path), root, options.create(Labels))
    walk(listing, root, None, None)
    entries, listing.entries = listing.entries, []
    for entry in sorted(entries, key=lambda e: e.path):
        match = pattern.search(os.path.relpath(entry.path, root).replace(os.sep, "/"))
        if match and match[1]:
            listing.entries.append(replace(entry, label=match[1]))
        else:
            listing.skip(entry.path, "no_label", "--label-from finds no label in its path")
    return listing
