"""`--corrections`: other labels for some images of DATA, from a table that a person checked.

The images stay where they are. A row without a label leaves its image out; an image that is not in DATA is added.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from foveal.data.sources.listing import DataOptions, Listing
from foveal.data.sources.tables import list_table
from foveal.data.wording import count_of
from foveal.errors import DataError, UsageError, known_name
from foveal.values import Entry

#: The table in a folder of corrections.
FILE_NAME = "corrections.csv"


def apply_corrections(listing: Listing, options: DataOptions) -> None:
    """Change labels, leave images out, and add images, as the table says.

    Args:
        listing: what DATA names; changed in place.
        options: `corrections` is the table, of `path,label`, or a folder with `corrections.csv` in it. Paths are
            absolute, or relative to the table's folder.

    Raises:
        DataError: when the table can't be read, or names one image twice with different labels.
        UnknownName: when a label is no class of DATA.
        UsageError: for masks.
    """
    assert options.corrections is not None
    if listing.target.annotation != "label":
        raise UsageError(
            f"--corrections {options.corrections}: DATA has {listing.target.plural}, not labels",
            hint="correct the table or the mask files themselves",
        )
    table = Path(options.corrections)
    table = table / FILE_NAME if table.is_dir() else table
    wanted = _read(table)
    classes = sorted(listing.declared_classes)
    wanted = {path: label and known_name("class", label, classes) for path, label in wanted.items()}
    changed = left_out = 0
    kept: list[Entry] = []
    for entry in listing.entries:
        label = wanted.pop(_key(entry.path), entry.label)
        if not label:
            listing.skip(entry.path, "corrections", f"left out by {table.name}", entry.label)
            left_out += 1
            continue
        changed += label != entry.label
        kept.append(entry if label == entry.label else replace(entry, label=label))
    new = [Entry(path, label) for path, label in wanted.items() if label]
    listing.entries[:] = [*kept, *new]
    options.say(
        f"{table}: {count_of(changed, 'label')} changed, {count_of(left_out, 'image')} left out, {len(new)} added"
    )


def _read(table: Path) -> Mapping[str, str]:
    """Label by absolute path; empty: the image is left out."""
    found = list_table(str(table), DataOptions(task="classify"))
    if found is None:
        raise DataError(f"{table}: no such file", hint=f"give a CSV with path,label, or a folder with {FILE_NAME}")
    labels: dict[str, str] = {}
    rows = [(e.path, e.label or "") for e in found.entries]
    rows += [(x.path, "") for x in found.excluded if x.reason == found.target.absent]
    for path, label in rows:
        key = _key(path)
        if labels.setdefault(key, label) != label:
            raise DataError(
                f"{table}: {path} has two labels: {labels[key]!r} and {label!r}",
                hint="keep one row for each image",
            )
    return labels


def _key(path: str) -> str:
    """The same for every name of a file that does not go through links."""
    return os.path.abspath(path)
