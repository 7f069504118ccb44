"""DATA, in every form that the command line takes, as a list of named pictures. Nothing is opened here.

Forms: a folder of class folders · a folder with `train/`, `val/` (or `valid/`, `validation/`) and
`test/` in it · a CSV or JSONL file with `path,label[,split][,group]` · a folder of IDX files, MNIST's
form, or one such file · `sample:NAME`.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from foveal.config import compile_group_by
from foveal.data.idx import IdxPair, find_pairs, is_idx, pair_of, read_pair
from foveal.data.samples import unpack
from foveal.errors import DataError
from foveal.values import Entry, LeftOut

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_CLUTTER = {"thumbs.db", "desktop.ini", "icon\r"}
#: Files beside pictures that nobody takes for pictures: passed over as `not_a_picture` without being read.
_OTHER = {
    ".txt",
    ".csv",
    ".json",
    ".jsonl",
    ".xml",
    ".md",
    ".html",
    ".yaml",
    ".yml",
    ".py",
    ".zip",
    ".db",
    ".ini",
}


@dataclass
class Listing:
    """What DATA names.

    Attributes:
        name: short, for the run folder.
        root: the folder that paths are shown relative to.
        entries: pictures to read, in a stable order.
        left_out: what was passed over while listing, and why.
        empty_classes: class folders without a single file.
    """

    name: str
    root: str
    entries: list[Entry] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    empty_classes: list[str] = field(default_factory=list)

    def skip(self, path: str, reason: str, detail: str, label: str | None = None) -> None:
        """Note a file or folder that is passed over."""
        self.left_out.append(LeftOut(path, reason, detail, label))


def list_data(data: str | os.PathLike[str], *, group_by: str | None = None) -> Listing:
    """Name every picture of DATA.

    Args:
        data: one of the forms above.
        group_by: regular expression on the path relative to the root; see `TrainConfig.group_by`.

    Raises:
        DataError: when DATA does not exist, has no form that is known, or names no picture at all.
    """
    text = os.fspath(data)
    if text.startswith("sample:"):
        folder = unpack(text.removeprefix("sample:"))
        listing = _list_folder(str(folder), text.removeprefix("sample:"))
    elif os.path.isdir(text):
        listing = _list_folder(os.path.abspath(text), _name_of(text))
    elif os.path.isfile(text) and is_idx(text):
        listing = _list_idx(
            os.path.dirname(os.path.abspath(text)), _name_of(text), [pair_of(os.path.abspath(text))]
        )
    elif os.path.isfile(text):
        listing = _list_table(Path(text))
    else:
        raise DataError(
            f"{text}: no such file or folder",
            hint="give a folder of class folders, a CSV with path,label, or sample:clipart",
        )
    if group_by is not None:
        _group(listing, group_by)
    if not listing.entries:
        found = f"; {len(listing.left_out)} files were passed over" if listing.left_out else ""
        raise DataError(
            f"{text}: no labelled picture in it{found}",
            hint="one folder a class, with the pictures inside: photos/cat/1.jpg, photos/dog/7.jpg",
        )
    return listing


def _name_of(text: str) -> str:
    base = os.path.basename(os.path.abspath(text))
    return re.sub(r"[^\w.-]+", "-", base.encode("utf-8", "replace").decode())[:60] or "data"


def _list_folder(root: str, name: str) -> Listing:
    """Class folders, or split folders with class folders in them."""
    if pairs := find_pairs(root):
        return _list_idx(root, name, pairs)
    listing = Listing(name, root)
    tops = list(_children(root, listing))
    splits = {entry.name: _SPLITS[entry.name.lower()] for entry in tops if entry.name.lower() in _SPLITS}
    given = {e.name for e in tops if e.name in splits and e.is_dir()}
    by_split = "train" in {splits[n] for n in given} and len(given) > 1
    for top in tops:
        if not top.is_dir():
            _file(listing, top.path, None, None)
        elif by_split and top.name in given:
            for child in _children(top.path, listing):
                if child.is_dir():
                    _walk(listing, child.path, child.name, splits[top.name])
                else:
                    _file(listing, child.path, None, None)
        elif by_split:
            listing.skip(top.path, "no_split", "a folder beside train/, val/ and test/")
        else:
            _walk(listing, top.path, top.name, None)
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


def _walk(listing: Listing, folder: str, label: str, split: str | None) -> None:
    """Every file below a class folder; a folder reached twice (a link in a circle) is entered once."""
    before = len(listing.entries) + len(listing.left_out)
    root = os.stat(listing.root)
    entered = {(root.st_dev, root.st_ino)}
    todo = [folder]
    while todo:
        here = todo.pop()
        try:
            status = os.stat(here)
        except OSError as error:
            listing.skip(here, "unreadable_folder", str(error.strerror), label)
            continue
        if (status.st_dev, status.st_ino) in entered:
            listing.skip(here, "symlink_loop", "a link to a folder that was already read", label)
            continue
        entered.add((status.st_dev, status.st_ino))
        for child in _children(here, listing, label):
            if child.is_dir():
                todo.append(child.path)
            else:
                _file(listing, child.path, label, split)
    if len(listing.entries) + len(listing.left_out) == before:
        listing.empty_classes.append(label)


def _children(folder: str, listing: Listing, label: str | None = None) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder, by name; hidden things and what can't be read are noted."""
    try:
        with os.scandir(folder) as found:
            children = sorted(found, key=lambda e: e.name)
    except OSError as error:
        listing.skip(folder, "unreadable_folder", str(error.strerror), label)
        return
    for child in children:
        if child.name.startswith((".", "__MACOSX")):
            kind = "hidden folder" if child.is_dir(follow_symlinks=False) else "hidden file"
            listing.skip(child.path, "hidden", kind, label)
        elif child.is_symlink() and not os.path.exists(child.path):
            listing.skip(child.path, "missing", "a link that leads nowhere, or in a circle", label)
        else:
            yield child


def _file(listing: Listing, path: str, label: str | None, split: str | None) -> None:
    name = os.path.basename(path).lower()
    if name in _CLUTTER or os.path.splitext(name)[1] in _OTHER:
        listing.skip(path, "not_a_picture", "by its name", label)
    elif label is None:
        listing.skip(path, "no_label", "lies outside every class folder")
    else:
        listing.entries.append(Entry(path, label, split))


def _list_table(path: Path) -> Listing:
    """A CSV or JSONL file of `path,label[,split][,group]`; relative paths start at the file's folder."""
    listing = Listing(_name_of(path.stem), str(path.resolve().parent))
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint="can you read this file?") from None
    rows = (
        _json_rows(path, text) if path.suffix.lower() in (".jsonl", ".ndjson", ".json") else _csv_rows(path, text)
    )
    for number, row in rows:
        where, label, split, group = (row.get(k, "") for k in ("path", "label", "split", "group"))
        if not where.strip():
            raise DataError(f"{path}:{number}: this row has no path", hint="every row needs path and label")
        full = os.path.normpath(os.path.join(listing.root, where))
        split = split.strip()
        if split and split.lower() not in _SPLITS:
            raise DataError(
                f"{path}:{number}: split {split!r} is none of train, val, test",
                hint="leave it empty to let foveal split",
            )
        if not label.strip():
            listing.skip(full, "no_label", f"row {number} has no label")
        else:
            listing.entries.append(Entry(full, label, _SPLITS[split.lower()] if split else None, group or None))
    _move_root(listing)
    return listing


def _move_root(listing: Listing) -> None:
    """A table that lies apart from its pictures says nothing about them: their own common folder does."""
    inside = os.path.join(listing.root, "")
    if listing.entries and not any(e.path.startswith(inside) for e in listing.entries):
        with contextlib.suppress(ValueError):  # no common folder: drives of Windows
            listing.root = os.path.commonpath([os.path.dirname(e.path) for e in listing.entries])


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    sample = text[:4096]
    delimiter = max(",;\t", key=sample.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = [(n or "").strip().lower() for n in reader.fieldnames or []]
    except csv.Error as error:
        raise DataError(f"{path}:1: {error}", hint="is this a CSV file?") from None
    for needed in ("path", "label"):
        if needed not in names:
            raise DataError(
                f"{path}: no column {needed!r}; it has {', '.join(map(repr, names)) or 'none'}",
                hint="the first line must name the columns: path,label[,split][,group]",
            )
    reader.fieldnames = names
    try:
        for row in reader:
            yield (
                reader.line_num,
                {k: (v or "").strip() for k, v in row.items() if isinstance(v, str) or v is None},
            )
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}", hint="is this a CSV file?") from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogateescape")  # half a character is no name
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: {error}", hint="one JSON object a line") from None
        if not isinstance(row, dict) or "path" not in row or "label" not in row:
            raise DataError(f"{path}:{number}: needs path and label", hint='{"path": "a.jpg", "label": "cat"}')
        yield number, {k: "" if v is None else str(v) for k, v in row.items()}


def _group(listing: Listing, pattern: str) -> None:
    """Name each entry's group by what `pattern` captures in its relative path."""
    compiled = compile_group_by(pattern)
    for i, entry in enumerate(listing.entries):
        match = compiled.search(os.path.relpath(entry.path, listing.root).replace(os.sep, "/"))
        if match:
            name = "/".join(g or "" for g in match.groups()) if match.groups() else match.group(0)
            listing.entries[i] = Entry(entry.path, entry.label, entry.split, name)
