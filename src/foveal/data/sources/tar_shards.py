"""Tar shards, the form of WebDataset: members with the same key are one sample, such as `7.jpg` and `7.cls`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import groupby

from foveal.data.images.shards import is_image
from foveal.data.images.tar_shards import ENDING, Member, members_of, read_member
from foveal.data.sources.listing import DataOptions, Listing
from foveal.data.sources.shard_names import (
    class_names,
    key_of,
    label_by_pattern,
    named_label,
    new_listing,
    shard_files,
    subsets_of,
)
from foveal.data.sources.tables import LABEL_COLUMNS
from foveal.errors import DataError, UnreadableImage
from foveal.values import Entry

#: Fields with a label, the first that is there counts.
_FIELDS = (".cls", ".json", ".txt")
#: A field with a label is never as large, bytes.
_MOST = 1 << 20


def list_tar_shards(path: str, options: DataOptions) -> Listing | None:
    """Each image of each shard, with the label of its sample: the text of `.cls`, the field `label` of `.json` (or
    `class`, `category`, …), the text of `.txt`; without these the folder that the image lies in, inside the tar file.

    Numbers are positions in `classes.txt` beside the shards, where there is one.

    Raises:
        DataError: when a shard is not a tar file, or a label can't be read.
    """
    files = shard_files(path, ENDING)
    if not files:
        return None
    listing = new_listing(files, path, options)
    names, subset, pattern = class_names(listing.root), subsets_of(files), label_by_pattern(options, listing.root)
    for file in files:
        for members in _samples(file):
            label = None if pattern is not None else _label(file, members, names)
            for member, name in _images(listing, file, members):
                annotation = pattern(name) if pattern is not None else label or _folder(member.name)
                if annotation:
                    listing.entries.append(Entry(name, annotation, subset(file)))
                else:
                    listing.skip(name, "no_label", "neither .cls, .json or .txt beside it, nor a folder around it")
    return listing


def _samples(file: str) -> Iterator[list[Member]]:
    """Neighbouring members with the same key."""
    for _, members in groupby(members_of(file), lambda member: key_of(member.name)[0]):
        yield list(members)


def _images(listing: Listing, file: str, members: Sequence[Member]) -> Iterator[tuple[Member, str]]:
    """The images of a sample with their paths; what is none, or can't be read, is noted."""
    labelled = any(key_of(member.name)[1] in _FIELDS for member in members)
    for member in members:
        name, field = f"{file}/{member.name}", key_of(member.name)[1]
        if labelled and field in _FIELDS and member.problem is None:
            continue
        if member.problem is not None:
            listing.skip(name, *member.problem)
        elif not is_image(member):
            listing.skip(name, "not_a_picture", "by its name")
        elif labelled and field.count(".") > 1:
            listing.skip(name, "not_a_picture", f"{field} of a sample that has an image of its own")
        else:
            yield member, name


def _label(file: str, members: Sequence[Member], names: Sequence[str]) -> str | None:
    fields = {key_of(m.name)[1]: m for m in members if m.problem is None and m.size <= _MOST}
    for field in _FIELDS:
        if field in fields and (text := _read(file, fields[field])) is not None:
            where = f"{file}/{fields[field].name}"
            label = _in_json(text, where) if field == ".json" else text.strip()
            if label:
                return named_label(label, names, where)
    return None


def _read(file: str, member: Member) -> str | None:
    try:
        content = read_member(file, member.name)
    except UnreadableImage:
        return None
    return None if content is None else content.decode("utf-8-sig", "surrogateescape")


def _in_json(text: str, where: str) -> str | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: {error}", hint='an object with a label: {"label": "cat"}') from None
    if not isinstance(value, dict):
        return str(value) if isinstance(value, str | int) else None
    found = [v for k, v in value.items() if k.lower() in LABEL_COLUMNS and isinstance(v, str | int)]
    named = [v for v in found if isinstance(v, str)]
    return str((named or found)[0]).strip() if found else None


def _folder(name: str) -> str | None:
    """The first folder around a member: its class."""
    parts = [part for part in os.path.dirname(name).split("/") if part not in ("", ".")]
    return parts[0] if parts else None
