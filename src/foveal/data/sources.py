"""DATA, in every form that the command line takes, as a list of named pictures. Nothing is opened here.

Forms: a folder of class folders · a folder with `train/`, `val/` (or `valid/`, `validation/`) and
`test/` in it · a CSV or JSONL file with `path,label[,split][,group]` · a folder of IDX files, MNIST's
form, or one such file · `sample:NAME`. With masks instead of labels: a folder with `images/` and
`masks/` in it, or with both in `train/`, `val/`, `test/` · a table with `image,mask[,split][,group]`.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from foveal.config import compile_group_by
from foveal.data.idx import IdxPair, find_pairs, is_idx, pair_of, read_pair
from foveal.data.listing import SPLITS, Listing, Wanted, add_file, children, walk
from foveal.data.mask_sources import find_mask_folders, list_masks
from foveal.data.samples import unpack
from foveal.data.tables import list_table
from foveal.errors import DataError
from foveal.values import Entry


def list_data(
    data: str | os.PathLike[str], wanted: Wanted | None = None, *, group_by: str | None = None
) -> Listing:
    """Name every picture of DATA.

    Args:
        data: one of the forms above.
        wanted: what the user said about it.
        group_by: as in `wanted`.

    Raises:
        DataError: when DATA does not exist, has no form that is known, or names no picture at all.
    """
    text = os.fspath(data)
    wanted = wanted or Wanted(group_by=group_by)
    if text.startswith("sample:"):
        folder = unpack(text.removeprefix("sample:"))
        listing = _list_folder(str(folder), text.removeprefix("sample:"), wanted)
    elif os.path.isdir(text):
        listing = _list_folder(os.path.abspath(text), _name_of(text), wanted)
    elif os.path.isfile(text) and is_idx(text):
        listing = _list_idx(
            os.path.dirname(os.path.abspath(text)), _name_of(text), [pair_of(os.path.abspath(text))]
        )
    elif os.path.isfile(text):
        listing = list_table(Path(text), _name_of(Path(text).stem), wanted)
    else:
        raise DataError(
            f"{text}: no such file or folder",
            hint="give a folder of class folders, a CSV with path,label, or sample:clipart",
        )
    _check_task(text, listing, wanted)
    if wanted.group_by is not None:
        _group(listing, wanted.group_by)
    if not listing.entries:
        found = f"; {len(listing.left_out)} files were passed over" if listing.left_out else ""
        what, hint = _NEEDS[listing.truth.task]
        raise DataError(f"{text}: no {what} in it{found}", hint=hint)
    return listing


_NEEDS = {
    "classify": (
        "labelled picture",
        "one folder a class, with the pictures inside: photos/cat/1.jpg, photos/dog/7.jpg",
    ),
    "segment": (
        "picture with a mask",
        "pictures in images/ and masks of the same names in masks/: images/7.jpg, masks/7.png; "
        "or a CSV with image,mask",
    ),
}


def _check_task(text: str, listing: Listing, wanted: Wanted) -> None:
    """Refuse data of another task than the one that was asked for."""
    if wanted.task in ("auto", listing.truth.task):
        return
    what, hint = _NEEDS[wanted.task]
    raise DataError(f"{text}: no {what} in it, for --task {wanted.task}", hint=hint)


def _name_of(text: str) -> str:
    base = os.path.basename(os.path.abspath(text))
    return re.sub(r"[^\w.-]+", "-", base.encode("utf-8", "replace").decode())[:60] or "data"


def _list_folder(root: str, name: str, wanted: Wanted) -> Listing:
    """Class folders, or split folders with class folders in them; or folders of pictures and masks."""
    if pairs := find_pairs(root):
        return _list_idx(root, name, pairs)
    if wanted.task != "classify" and (folders := find_mask_folders(root)):
        return list_masks(Listing(name, root), folders, wanted)
    listing = Listing(name, root)
    tops = list(children(root, listing))
    splits = {entry.name: SPLITS[entry.name.lower()] for entry in tops if entry.name.lower() in SPLITS}
    given = {e.name for e in tops if e.name in splits and e.is_dir()}
    by_split = "train" in {splits[n] for n in given} and len(given) > 1
    for top in tops:
        if not top.is_dir():
            add_file(listing, top.path, None, None)
        elif by_split and top.name in given:
            for child in children(top.path, listing):
                if child.is_dir():
                    walk(listing, child.path, child.name, splits[top.name])
                else:
                    add_file(listing, child.path, None, None)
        elif by_split:
            listing.skip(top.path, "no_split", "a folder beside train/, val/ and test/")
        else:
            walk(listing, top.path, top.name, None)
    listing.entries.sort(key=lambda e: e.path)
    return listing


def _list_idx(root: str, name: str, pairs: list[IdxPair]) -> Listing:
    """Each picture of each file as an entry; the sides count as given when there is `train` and another."""
    listing = Listing(name, root)
    sides = {pair.side for pair in pairs}
    given = "train" in sides and len(sides) > 1
    for pair in pairs:
        _, labels = read_pair(pair)
        side = pair.side if given else None
        listing.entries += [Entry(f"{pair.images}#{i}", label, side) for i, label in enumerate(labels)]
    return listing


def _group(listing: Listing, pattern: str) -> None:
    """Name each entry's group by what `pattern` captures in its relative path."""
    compiled = compile_group_by(pattern)
    for i, entry in enumerate(listing.entries):
        match = compiled.search(os.path.relpath(entry.path, listing.root).replace(os.sep, "/"))
        if match:
            name = "/".join(g or "" for g in match.groups()) if match.groups() else match.group(0)
            listing.entries[i] = replace(entry, group=name)
