"""Which DATA are shards, read where they are: their files, the names of their classes, and what they have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from foveal.config import compile_label_from
from foveal.data.images import parquet_images, tar_shards
from foveal.data.images.shards import ENDINGS
from foveal.data.images.storage import is_file, is_remote, named_files, read_at, version_of
from foveal.data.sources.listing import DataOptions, Listing, short_name, subset_of
from foveal.data.targets.labels import Labels
from foveal.errors import URL_HINT, DataError
from foveal.values import Subset

SHARDS_HINT = f"{URL_HINT}; of shards in an object store give the names: s3://bucket/train-*.tar"
#: Files beside shards that name the classes of numbers, a line each.
_CLASS_FILES = ("classes.txt", "classnames.txt")
#: Members of a lone tar file that are looked at, to tell shards from a packed folder.
_LOOKED_AT = 2000
_FIELDS = (".cls", ".json", ".txt")


def is_remote_shard(text: str) -> bool:
    """Whether DATA names shards in an object store."""
    return is_remote(text) and text.lower().endswith(ENDINGS)


def names_shards(path: str) -> bool:
    """Whether DATA is read as shards: see `shard_files`."""
    return any(shard_files(path, ending) for ending in ENDINGS)


def shard_files(path: str, ending: str) -> list[str]:
    """The shards with this ending that DATA names; empty when it is of another form.

    DATA is a pattern, `train-{000..014}.tar` or `*.parquet`; a folder with shards in it, and no images or folders; or
    one file: Parquet with a column of images, or a tar file whose images have labels beside them (`.cls`, `.json`,
    `.txt`). Any other tar file is a packed folder.

    Raises:
        DataError: when an object store can't be reached, or a shard of a pattern does not exist.
    """
    if os.path.isdir(path):
        found = _in_folder(os.path.abspath(path), ending)
    elif not path.lower().endswith(ending):
        return []
    elif os.path.isfile(path):
        found = [os.path.abspath(path)]
        if ending == tar_shards.ENDING:
            return found if _has_labels(found[0]) else []
    else:
        found = [name if is_remote(name) else os.path.abspath(name) for name in named_files(path)]
        if missing := [name for name in found if not is_file(name)]:
            if len(found) == 1:
                return []
            raise DataError(f"{missing[0]}: no such file", hint=f"one of the {len(found)} that {path} names")
    if ending == parquet_images.ENDING and found and not parquet_images.holds_images(found[0]):
        return []
    return found


def _in_folder(folder: str, ending: str) -> list[str]:
    found = []
    try:
        with os.scandir(folder) as scanned:
            for entry in scanned:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir() or not entry.name.lower().endswith((ending, ".txt", ".md", ".json")):
                    return []
                if entry.name.lower().endswith(ending):
                    found.append(entry.path)
    except OSError:
        return []
    return sorted(found)


def _has_labels(shard: str) -> bool:
    images: set[str] = set()
    fields: set[str] = set()
    try:
        for number, member in enumerate(tar_shards.members_of(shard)):
            key, suffix = key_of(member.name)
            (fields if suffix in _FIELDS else images).add(key)
            if number >= _LOOKED_AT:
                break
    except DataError:
        return False  # it is unpacked, which says what is wrong with it
    return not images.isdisjoint(fields)


def key_of(name: str) -> tuple[str, str]:
    """The key of a sample that a member belongs to, and its field: `a/b` and `.seg.png` of `a/b.seg.png`."""
    folder, _, base = name.rpartition("/")
    stem, dot, field = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), (dot + field).lower()


def new_listing(files: Sequence[str], path: str, options: DataOptions) -> Listing:
    """An empty listing of shards."""
    folder = files[0].rpartition("/")[0] if is_remote(files[0]) else os.path.dirname(files[0])
    named = folder if len(files) > 1 or os.path.isdir(path) else os.path.splitext(files[0])[0]
    return Listing(short_name(named), folder, options.create(Labels))


def subsets_of(files: Sequence[str]) -> Callable[[str], Subset | None]:
    """The subset that a shard is given to by its name, `val-03.tar`, when there is one for `train` and another."""
    named = {file: subset_of(os.path.basename(file).split("-")[0].split(".")[0]) for file in files}
    given = "train" in named.values() and len(set(named.values())) > 1
    return lambda file: named[file] if given else None


def class_names(folder: str) -> list[str]:
    """The names of the classes that a file beside the shards gives; empty when there is none."""
    for name in _CLASS_FILES:
        file = f"{folder}/{name}"
        try:
            text = read_at(file, 0, version_of(file)[0]).decode("utf-8-sig", "surrogateescape")
        except DataError:
            continue
        return [line.strip() for line in text.splitlines() if line.strip()]
    return []


def named_label(label: str, names: Sequence[str], where: str) -> str:
    """The name of a class: a number is a position among the names, where there are any.

    Raises:
        DataError: for a number without a name.
    """
    if not names or not label.isascii() or not label.isdigit():
        return label
    if int(label) >= len(names):
        raise DataError(
            f"{where}: label {label}, but only {len(names)} classes have names", hint="they count from 0"
        )
    return names[int(label)]


def label_by_pattern(options: DataOptions, root: str) -> Callable[[str], str | None] | None:
    """What `label_from` finds in a path, where it is given."""
    if options.label_from is None:
        return None
    pattern = compile_label_from(options.label_from)

    def label(path: str) -> str | None:
        match = pattern.search(path.removeprefix(root).lstrip("/"))
        return match[1] if match and match[1] else None

    return label
