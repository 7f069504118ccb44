"""A folder of images and a folder of masks, paired by name; maybe in `train/`, `val/`, `test/`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from foveal.data.images.file_kinds import may_be_image
from foveal.data.sources.listing import DataOptions, Listing, children, short_name, subset_of
from foveal.data.targets.label_map import class_file
from foveal.data.targets.masks import Masks
from foveal.values import Subset

_IMAGES = {"images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "inputs"}
_MASKS = {
    *("masks", "mask", "labels", "label", "annotations", "segmentationclass", "segmentation", "segmentations"),
    *("gt", "groundtruth", "ground_truth", "targets", "annots"),
}
#: What the name of a mask may have after the name of its image.
_ENDINGS = (
    *("", "_mask", "-mask", "_masks", "_label", "_labels", "_gt", "_seg", "_L", "_P"),
    *("_segmentation", "_annotation", "_labelids", "_gtfine_labelids", "_manual1", "_1stho"),
)


@dataclass(frozen=True)
class MaskFolders:
    """A folder of images, the folder of their masks, and the subset that they were given to."""

    images: str
    masks: str
    split: Subset | None = None


def find_mask_folders(root: str) -> list[MaskFolders]:
    """`images/` next to `masks/` in a folder, or in its `train/`, `val/`, `test/`; empty when there are none."""
    if (here := _pair_in(root)) is not None:
        return [here]
    folders = []
    for name, path in _folders(root).items():
        if (subset := subset_of(name)) is not None and (pair := _pair_in(path)) is not None:
            folders.append(MaskFolders(pair.images, pair.masks, subset))
    given = {f.split for f in folders}
    if "train" not in given or len(given) < 2:
        return [MaskFolders(f.images, f.masks) for f in folders]
    return folders


def _pair_in(folder: str) -> MaskFolders | None:
    names = _folders(folder)
    images = [p for n, p in names.items() if n in _IMAGES]
    masks = [p for n, p in names.items() if n in _MASKS]
    return MaskFolders(images[0], masks[0]) if len(images) == len(masks) == 1 else None


def _folders(folder: str) -> dict[str, str]:
    """The folders in a folder by their names in lower case."""
    try:
        with os.scandir(folder) as scanned:
            return {e.name.lower(): e.path for e in sorted(scanned, key=lambda e: e.name) if e.is_dir()}
    except OSError:
        return {}


def list_mask_folders(path: str, options: DataOptions) -> Listing | None:
    """Each image with its mask; images without a mask, and masks without an image, are noted."""
    if not os.path.isdir(path) or not options.accepts(Masks):
        return None
    root = os.path.abspath(path)
    folders = find_mask_folders(root)
    if not folders:
        return None
    places = [p for f in folders for p in (os.path.dirname(f.images), f.masks)]
    listing = Listing(short_name(path), root, options.create(Masks, [root, *places]))
    known = {p for f in folders for p in (f.images, f.masks)}
    _note_others(listing, known | {str(class_file([root, *places], options.classes))}, folders)
    for folder in folders:
        images, masks = dict(_files(folder.images, listing)), dict(_files(folder.masks, listing))
        by_stem: dict[str, str] = {}
        for name, path in masks.items():
            if (twin := by_stem.setdefault(name.lower(), path)) != path:
                listing.skip(path, "mask_twice", f"{os.path.basename(twin)} has the same name")
        used = set()
        for name, path in images.items():
            mask = next((by_stem[k] for e in _ENDINGS if (k := (name + e).lower()) in by_stem), None)
            if mask is None:
                detail = f"no mask named {os.path.basename(name)}.png in {folder.masks}"
                listing.skip(path, "no_mask", detail)
                continue
            used.add(mask)
            listing.entries.append(listing.target.entry(path, mask, root, _subset_of(folder, path)))
        for path in by_stem.values():
            if path not in used:
                listing.skip(path, "mask_without_picture", f"no image of this name in {folder.images}")
    listing.entries.sort(key=lambda e: e.path)
    return listing


def _subset_of(folder: MaskFolders, path: str) -> Subset | None:
    """The subset that the path gives: also `images/train/…`, when there is such a layout."""
    if folder.split is not None:
        return folder.split
    first = os.path.relpath(path, folder.images).split(os.sep)[0].lower()
    inside = {subset for n in _folders(folder.images) if (subset := subset_of(n)) is not None}
    return subset_of(first) if "train" in inside and len(inside) > 1 else None


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
            elif not may_be_image(child.path):
                listing.skip(child.path, "not_a_picture", "by its name")
            else:
                yield os.path.splitext(os.path.relpath(child.path, folder))[0], child.path


def _note_others(listing: Listing, known: set[str], folders: list[MaskFolders]) -> None:
    """Files and folders next to those of images and masks."""
    for place in sorted({listing.root, *(os.path.dirname(f.images) for f in folders)}):
        for child in children(place, listing):
            if child.path in known:
                continue
            if child.is_dir():
                inside = any(k.startswith(child.path + os.sep) for k in known)
                if not inside:
                    listing.skip(child.path, "no_mask", "a folder next to those of images and masks")
            elif not may_be_image(child.path):
                listing.skip(child.path, "not_a_picture", "by its name")
            else:
                listing.skip(child.path, "no_mask", "outside the folder of images")
