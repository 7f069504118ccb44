"""DATA, in every form that the command line takes, as a list of named images. No image is opened here.

Forms: a folder of class folders · a folder with `train/`, `val/` and `test/` in it, in any usual spelling · a CSV,
JSONL or Parquet file with `path,label[,split][,group]`, or a folder with such a `metadata` file in it · a folder of
images, with `label_from` · a folder of IDX files, the format of MNIST, or one such file · `sample:NAME`, `hf:NAME` and
`tfds:NAME` · tar shards (WebDataset) and Parquet with images in it, read where they are, also in an object
store. With masks instead of labels: a folder with `images/` and `masks/` in it, or with both in `train/`, `val/`,
`test/` · a table with `image,mask[,split][,group]`. A folder may lie inside another one, or be packed as a zip or tar
file.

A new form is a function in a file of its own (see `listing.Source`) and a line in `SOURCES`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from foveal.config import compile_group_by
from foveal.data.sources.archives import is_archive, unpack_archive
from foveal.data.sources.class_folders import inner_folder, list_class_folders
from foveal.data.sources.corrections import apply_corrections
from foveal.data.sources.file_names import list_file_names
from foveal.data.sources.hf_datasets import fetch_hf
from foveal.data.sources.idx_files import list_idx
from foveal.data.sources.listing import DataOptions, Listing, Source
from foveal.data.sources.mask_folders import list_mask_folders
from foveal.data.sources.parquet_images import list_parquet_images
from foveal.data.sources.samples import unpack
from foveal.data.sources.shard_names import SHARDS_HINT, is_remote_shard, names_shards
from foveal.data.sources.tables import list_metadata, list_table
from foveal.data.sources.tar_shards import list_tar_shards
from foveal.data.sources.tfds_datasets import fetch_tfds
from foveal.data.wording import count_of
from foveal.errors import DataError, is_url

#: Tried in this order: the last two take any folder and any file.
SOURCES: list[Source] = [
    list_tar_shards,
    list_parquet_images,
    list_file_names,
    list_idx,
    list_metadata,
    list_mask_folders,
    list_class_folders,
    list_table,
]
#: Data sets by name, `KIND:NAME`, and what finds the folder or table of one; the last two may download it.
_NAMED: dict[str, Callable[[str], Path]] = {"sample": unpack, "hf": fetch_hf, "tfds": fetch_tfds}


def register_source(source: Source) -> None:
    """Add a form of DATA, to be tried before all others."""
    SOURCES.insert(0, source)


def is_named(data: str) -> bool:
    """Whether DATA is the name of a data set, such as `sample:clipart`, and no path."""
    return data.partition(":")[0] in _NAMED and ":" in data


def list_data(
    data: str | os.PathLike[str], options: DataOptions | None = None, *, group_by: str | None = None
) -> Listing:
    """Name every image of DATA.

    Args:
        data: one of the forms above.
        options: what the user said about it.
        group_by: as in `options`, where there are none.

    Raises:
        DataError: when DATA does not exist, is of no known form, or names no image.
        UnknownName: for a sample or a task that does not exist.
    """
    text = os.fspath(data)
    options = options or DataOptions(group_by=group_by)
    if is_url(text) and not is_remote_shard(text):
        raise DataError(f"{text} is a URL, and foveal does not download it", hint=SHARDS_HINT)
    kind, _, name = text.partition(":") if is_named(text) else ("", "", "")
    if kind in ("hf", "tfds"):
        options.say(f"{text}: loaded by its name; downloaded unless it is on this machine")
    path = str(_NAMED[kind](name)) if kind else text
    if not names_shards(path):
        path = inner_folder(str(unpack_archive(path)) if is_archive(path) else path)
    listed = (source(path, options) for source in SOURCES)
    listing = next((found for found in listed if found is not None), None)
    if listing is None:
        raise DataError(
            f"{text}: no such file or folder",
            hint="give a folder of class folders, a CSV with path,label, or sample:clipart",
        )
    listing.name = name if kind == "sample" else listing.name
    if options.wanted is not None and options.wanted.task != listing.task:
        raise DataError(
            f"{text}: no {options.wanted.item} in it, for --task {options.task}", hint=options.wanted.layout
        )
    if options.corrections is not None:
        apply_corrections(listing, options)
    if options.group_by is not None:
        _group(listing, options.group_by)
    if not listing.entries:
        count = len(listing.excluded)
        skipped = f"; {count_of(count, 'file was', 'files were')} skipped" if count else ""
        hint = listing.target.layout
        if any(x.reason == "no_label" for x in listing.excluded):
            hint += "; where the names of the files say the class: --label-from PATTERN"
        raise DataError(f"{text}: no {listing.target.item} in it{skipped}", hint=hint)
    return listing


def _group(listing: Listing, pattern: str) -> None:
    """Name each entry's group by what `pattern` captures in its relative path."""
    compiled = compile_group_by(pattern)
    for i, entry in enumerate(listing.entries):
        match = compiled.search(os.path.relpath(entry.path, listing.root).replace(os.sep, "/"))
        if match:
            name = "/".join(g or "" for g in match.groups()) if match.groups() else match.group(0)
            listing.entries[i] = replace(entry, group=name)
