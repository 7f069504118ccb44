"""The label map of masks: read from a list of classes, or made from the values that occur.

`classes.txt`: one name a line, the first has value 0; or `7 name`. With colours: `name,r,g,b` or `r g b name`.
`classes.csv`: columns `name[,value][,r,g,b]`. A class named void, ignore, unlabelled or the like is ignored.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foveal.errors import DataError, UnknownName
from foveal.metrics.segmentation import VOID
from foveal.values import LabelMap

Colour = tuple[int, int, int]

#: Files next to images and masks that are read as a list of classes; the first that exists counts.
CLASS_FILES = (
    *("classes.txt", "classes.csv", "class_dict.csv", "labels.txt", "labels.csv", "codes.txt"),
    *("label_colors.txt", "labelmap.txt", "class_names.txt"),
)
_IGNORED = {"void", "ignore", "ignored", "unlabelled", "unlabeled", "unknown", "dont care", "don't care"}
_NAME = {"name", "class", "label", "class_name"}
_VALUE = {"value", "index", "id", "class_id", "number"}
_RGB = ({"r", "red"}, {"g", "green"}, {"b", "blue"})
#: Classes at most: their positions and the ignore index have to fit into 8 bits.
MOST = 255
#: More values than this, without a list of classes, are soft edges or the ids of single objects.
MOST_UNNAMED = 64


@dataclass(frozen=True)
class ClassRow:
    """One line of a list of classes."""

    name: str
    value: int
    colour: Colour | None = None


def class_file(folders: Iterable[str], given: str | None = None) -> Path | None:
    """The file with the names of the classes: the given one, or the first that exists in one of these folders."""
    if given is not None:
        return Path(given)
    for folder in folders:
        for name in CLASS_FILES:
            if os.path.isfile(path := os.path.join(folder, name)):
                return Path(path)
    return None


def read_list(path: Path) -> list[ClassRow]:
    """The classes of a file.

    Raises:
        DataError: when it can't be read, or a name, a value or a colour occurs twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint="one class name a line") from None
    rows = _csv(path, text) if path.suffix.lower() == ".csv" else _lines(path, text)
    if not rows:
        raise DataError(f"{path}: it has no classes", hint="one class name a line")
    if any(not row.name for row in rows):
        raise DataError(f"{path}: a class has no name", hint="name every class")
    for what, items in (
        ("name", [r.name for r in rows]),
        ("value", [r.value for r in rows]),
        ("colour", [r.colour for r in rows if r.colour]),
    ):
        twice = [x for x in items if items.count(x) > 1]  # type: ignore[arg-type]
        if twice:
            raise DataError(f"{path}: the {what} {twice[0]!r} occurs twice", hint="list each class once")
    if len(rows) > MOST:
        raise DataError(f"{path}: {len(rows)} classes", hint=f"a mask can hold at most {MOST}")
    return rows


def _csv(path: Path, text: str) -> list[ClassRow]:
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count))
    rows = [[cell.strip() for cell in row] for row in reader if any(cell.strip() for cell in row)]
    names = [cell.lower() for cell in rows[0]] if rows else []
    columns = [next((i for i, n in enumerate(names) if n in known), None) for known in (_NAME, _VALUE, *_RGB)]
    name, value, *rgb = columns
    if name is None:  # no heading: the first row is a class
        return _lines(path, "\n".join(",".join(row) for row in rows))
    coloured = None not in rgb
    result = []
    for place, row in enumerate(rows[1:]):
        row = row + [""] * (len(names) - len(row))
        where = f"{path}:{place + 2}"
        number = _whole(row[value], where) if value is not None else place
        colour = _colour([row[i or 0] for i in rgb], where) if coloured else None
        result.append(ClassRow(row[name], number, colour))
    return result


_NUMBERED = re.compile(r"(\d+)\s*[:=,;\t ]\s*(.+)")
_COLOUR_LAST = re.compile(r"(.+?)[,;:\t ]\s*(\d+)[,; \t]+(\d+)[,; \t]+(\d+)\s*(?:::.*)?")
_COLOUR_FIRST = re.compile(r"(\d+)[,; \t]+(\d+)[,; \t]+(\d+)[,; \t]+(.+)")


def _lines(path: Path, text: str) -> list[ClassRow]:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if lines and all(m := [_COLOUR_FIRST.fullmatch(x) for x in lines]):
        return [ClassRow(x[4].strip(), i, _colour(x.groups()[:3], str(path))) for i, x in enumerate(m) if x]
    if lines and all(m := [_COLOUR_LAST.fullmatch(x) for x in lines]):
        return [ClassRow(x[1].strip(), i, _colour(x.groups()[1:4], str(path))) for i, x in enumerate(m) if x]
    if lines and all(m := [_NUMBERED.fullmatch(x) for x in lines]):
        return [ClassRow(x[2].strip(), int(x[1])) for x in m if x]
    return [ClassRow(line, i) for i, line in enumerate(lines)]


def _whole(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(f"{where}: {text!r} is not a whole number", hint="columns: name,value,r,g,b") from None


def _colour(parts: Sequence[str], where: str) -> Colour:
    r, g, b = (_whole(p, where) for p in parts)
    if max(r, g, b) > 255 or min(r, g, b) < 0:
        raise DataError(f"{where}: {r}, {g}, {b} is not a colour", hint="red, green and blue from 0 to 255")
    return r, g, b


def from_list(rows: Sequence[ClassRow], void: str | None, path: Path) -> LabelMap:
    """The label map of a list of classes.

    Args:
        rows: of the list.
        void: a class or value to ignore.
        path: of the list, for messages.

    Raises:
        UnknownName: when `void` is neither a value nor one of the names.
        DataError: when fewer than two classes remain.
    """
    number = int(void) if void is not None and _is_number(void) else None
    if void is not None and number is None and void not in {r.name for r in rows}:
        raise UnknownName("class", void, [r.name for r in rows])
    ignored = [r for r in rows if r.value == number or r.name == void or r.name.lower().strip("_ ") in _IGNORED]
    real = [r for r in rows if r not in ignored]
    if len(real) < 2:
        raise DataError(f"{path}: {len(real)} class that is not ignored", hint="training needs two")
    free = {VOID} - {r.value for r in real} | ({number} if number is not None else set())
    colours = tuple(r.colour for r in real if r.colour is not None)
    return LabelMap(
        tuple(r.name for r in real),
        tuple(r.value for r in real),
        colours if len(colours) == len(real) else (),
        tuple(sorted({r.value for r in ignored} | free)),
        tuple(r.colour for r in ignored if r.colour is not None),
    )


def from_values(values: Iterable[int], void: str | None, palette: Mapping[int, int]) -> LabelMap:
    """A label map of the values that occur in masks; 0 and 255 alone are background and foreground.

    Raises:
        UnknownName: when `void` is not a value.
        DataError: when there are fewer than two, or implausibly many.
    """
    if void is not None and not _is_number(void):
        raise UnknownName("value in the masks, which have no list of classes,", void, map(str, sorted(values)))
    ignored = {int(void)} if void is not None else set()
    seen = set(values) - ignored
    if seen == {0, VOID}:
        return LabelMap(("background", "foreground"), (0, VOID), (), tuple(sorted(ignored)))
    real = sorted(seen - {VOID})
    _plausible(len(real), f"the masks hold {len(real)} different values")
    colours = tuple(split_colour(palette[v]) for v in real) if all(v in palette for v in real) else ()
    if all(r == g == b for r, g, b in colours):  # greys carry no more information than the values
        colours = ()
    return LabelMap(tuple(map(str, real)), tuple(real), colours, tuple(sorted({*ignored, VOID})))


def from_colours(colours: Iterable[int], void: str | None = None) -> LabelMap:
    """A label map of the colours that occur in masks; black comes first, the rest by their code.

    Raises:
        UnknownName: when `void` is not one of them, as `#rrggbb`.
        DataError: when there are fewer than two, or implausibly many.
    """
    names = {f"#{c:06x}": c for c in sorted(colours)}
    if void is not None and void.lower() not in names:
        raise UnknownName("colour in the masks, which have no list of classes,", void, names)
    ignored = {names[void.lower()]} if void is not None else set()
    real = [c for c in names.values() if c not in ignored]
    _plausible(len(real), f"the masks hold {len(real)} different colours")
    rgb = tuple(split_colour(c) for c in real)
    return LabelMap(
        tuple(f"#{c:06x}" for c in real), tuple(range(len(real))), rgb, (VOID,), tuple(map(split_colour, ignored))
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _plausible(count: int, words: str) -> None:
    hint = "name the classes in classes.txt, or with colours in classes.csv: name,r,g,b"
    if count > MOST_UNNAMED:
        raise DataError(f"{words}: soft edges, or the ids of single objects?", hint=hint)
    if count < 2:
        raise DataError(f"{words}: training needs two classes", hint=hint)


def split_colour(code: int) -> Colour:
    """0xRRGGBB as three numbers."""
    return code >> 16, code >> 8 & 255, code & 255


def code_of(colour: Colour) -> int:
    """Three numbers as 0xRRGGBB."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]
