"""Folders of pictures and of masks, paired by name. Nothing is opened here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foveal.data.legend import find_list
from foveal.data.listing import SPLITS, Listing, Wanted, children, passed_over
from foveal.data.masks import Masks
from foveal.values import Entry

_IMAGES = {"images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "inputs"}
_MASKS = {
    *("masks", "mask", "labels", "label", "annotations", "segmentationclass", "segmentation", "segmentations"),
    *("gt", "groundtruth", "ground_truth", "targets", "annots"),
}
#: What a mask's name may have behind its picture's.
_ENDINGS = (
    *("", "_mask", "-mask", "_masks", "_label", "_labels", "_gt", "_seg", "_L", "_P"),
    *("_segmentation", "_annotation", "_labelids", "_gtfine_labelids", "_manual1", "_1stho"),
)


@dataclass(frozen=True)
class MaskFolders:
    """A folder of pictures, the folder of their masks, and the side they were given to."""

    images: str
    masks: str
    split: str | None = None


def find_mask_folders(root: str) -> list[MaskFolders]:
    """`images/` beside `masks/` in a folder, or in its `train/`, `val/`, `test/`; empty when there are none."""
    if (here := _pair_in(root)) is not None:
        return [here]
    found = []
    for name, path in _folders(root).items():
        if name in SPLITS and (pair := _pair_in(path)) is not None:
            found.append(MaskFolders(pair.images, pair.masks, SPLITS[name]))
    given = {f.split for f in found}
    if "train" not in given or len(given) < 2:
        return [MaskFolders(f.images, f.masks) for f in found]
    return found


def _pair_in(folder: str) -> MaskFolders | None:
    names = _folders(folder)
    images = [p for n, p in names.items() if n in _IMAGES]
    masks = [p for n, p in names.items() if n in _MASKS]
    return MaskFolders(images[0], masks[0]) if len(images) == len(masks) == 1 else None


def _folders(folder: str) -> dict[str, str]:
    """Folders in a folder by their names in small letters."""
    try:
        with os.scandir(folder) as found:
            return {e.name.lower(): e.path for e in sorted(found, key=lambda e: e.name) if e.is_dir()}
    except OSError:
        return {}


def list_masks(listing: Listing, folders: list[MaskFolders], wanted: Wanted) -> Listing:
    """Each picture with its mask; those without, and masks without a picture, are noted."""
    places = [p for f in folders for p in (os.path.dirname(f.images), f.masks)]
    listing.truth = masks_of(wanted, [listing.root, *places])
    known = {p for f in folders for p in (f.images, f.masks)} | {str(listing.truth.names)}
    _note_others(listing, known, folders)
    for folder in folders:
        pictures, masks = dict(_files(folder.images, listing)), dict(_files(folder.masks, listing))
        by_stem: dict[str, str] = {}
        for name, path in masks.items():
            if (twin := by_stem.setdefault(name.lower(), path)) != path:
                listing.skip(path, "mask_twice", f"{os.path.basename(twin)} has the same name")
        used = set()
        for name, path in pictures.items():
            mask = next((by_stem[k] for e in _ENDINGS if (k := (name + e).lower()) in by_stem), None)
            if mask is None:
                words = f"no mask named {os.path.basename(name)}.png in {folder.masks}"
                listing.skip(path, "no_mask", words)
                continue
            used.add(mask)
            listing.entries.append(Entry(path, None, _side(folder, path), None, mask))
        for path in by_stem.values():
            if path not in used:
                listing.skip(path, "mask_without_picture", f"no picture of this name in {folder.images}")
    listing.entries.sort(key=lambda e: e.path)
    return listing


def masks_of(wanted: Wanted, folders: list[str]) -> Masks:
    """What the masks mean, as far as files and the user say."""
    names = Path(wanted.classes) if wanted.classes is not None else find_list(folders)
    return Masks(names, wanted.void)


def _side(folder: MaskFolders, path: str) -> str | None:
    """The side that the path gives: also `images/train/…`, when there is such a layout."""
    if folder.split is not None:
        return folder.split
    first = os.path.relpath(path, folder.images).split(os.sep)[0].lower()
    inside = {SPLITS[n] for n in _folders(folder.images) if n in SPLITS}
    return SPLITS.get(first) if "train" in inside and len(inside) > 1 else None


def _files(folder: str, listing: Listing) -> Iterator[tuple[str, str]]:
    """Relative name without its ending, and path, of each file below."""
    todo, entered = [folder], set()
    while todo:
        here = todo.pop()
        if (real := os.path.realpath(here)) in entered:
            listing.skip(here, "symlink_loop", "a link to a folder that was already read")
            continue
        entered.add(real)
        for child in children(here, listing):
            if child.is_dir():
                todo.append(child.path)
            elif passed_over(child.path):
                listing.skip(child.path, "not_a_picture", "by its name")
            else:
                yield os.path.splitext(os.path.relpath(child.path, folder))[0], child.path


def _note_others(listing: Listing, known: set[str], folders: list[MaskFolders]) -> None:
    """Files and folders beside those of pictures and masks."""
    for place in sorted({listing.root, *(os.path.dirname(f.images) for f in folders)}):
        for child in children(place, listing):
            if child.path in known:
                continue
            if child.is_dir():
                inside = any(k.startswith(child.path + os.sep) for k in known)
                if not inside:
                    listing.skip(child.path, "no_mask", "a folder beside those of pictures and masks")
            elif passed_over(child.path):
                listing.skip(child.path, "not_a_picture", "by its name")
            else:
                listing.skip(child.path, "no_mask", "lies outside the folder of pictures")
