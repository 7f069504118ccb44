"""IDX files, the format of MNIST: one of them, or a folder with some in it."""

from __future__ import annotations

import os

from foveal.data.images.idx import find_pairs, is_idx, pair_of, read_pair
from foveal.data.sources.listing import DataOptions, Listing, short_name
from foveal.data.targets.labels import Labels
from foveal.values import Entry


def list_idx(path: str, options: DataOptions) -> Listing | None:
    """Each image of each file; subsets count as given when there is a file for `train` and another one.

    Raises:
        DataError: when a file of images has no labels, or one of them is damaged.
    """
    whole = os.path.abspath(path)
    if os.path.isdir(path):
        root, pairs = whole, find_pairs(whole)
    elif os.path.isfile(path) and is_idx(path):
        root, pairs = os.path.dirname(whole), [pair_of(whole)]
    else:
        return None
    if not pairs:
        return None
    listing = Listing(short_name(path), root, options.create(Labels))
    subsets = {pair.subset for pair in pairs}
    given = "train" in subsets and len(subsets) > 1
    for pair in pairs:
        _, labels = read_pair(pair)
        subset = pair.subset if given else None
        listing.entries += [Entry(f"{pair.images}#{i}", label, subset) for i, label in enumerate(labels)]
    return listing
