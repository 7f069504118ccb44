"""Names of classes for masks: read from the file that lies beside them, or made from what the masks hold.

`classes.txt`: one name a line, the first is number 0; or `7 name`. With colours: `name,r,g,b` or `r g b name`.
`classes.csv`: columns `name[,value][,r,g,b]`. A class named void, ignore, unlabelled or the like is nobody's.
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
from foveal.values import Legend

Colour = tuple[int, int, int]

#: Files beside pictures and masks that are taken for a list of classes, the first that is there.
NAMES = (
    *("classes.txt", "classes.csv", "class_dict.csv", "labels.txt", "labels.csv", "codes.txt"),
    *("label_colors.txt", "labelmap.txt", "class_names.txt"),
)
_NOBODY = {"void", "ignore", "ignored", "unlabelled", "unlabeled", "unknown", "dont care", "don't care"}
_NAME = {"name", "class", "label", "class_name"}
_VALUE = {"value", "index", "id", "class_id", "number"}
_RGB = ({"r", "red"}, {"g", "green"}, {"b", "blue"})
#: Over this many numbers in masks nobody means classes: positions and void have to fit into 8 bits.
MOST = 255
#: Over this many without a list of classes they are soft edges, or numbers of single objects.
MOST_UNNAMED = 64


@dataclass(frozen=True)
class ClassRow:
    """One line of a list of classes."""

    name: str
    value: int
    colour: Colour | None = None


def find_list(folders: Iterable[str]) -> Path | None:
    """The list of classes that lies in one of these folders."""
    for folder in folders:
        for name in NAMES:
            if os.path.isfile(path := os.path.join(folder, name)):
                return Path(path)
    return None


def read_list(path: Path) -> list[ClassRow]:
    """The classes of a file.

    Raises:
        DataError: when it can't be read, or a name, a number or a colour stands there twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint="one class name a line") from None
    rows = _csv(path, text) if path.suffix.lower() == ".csv" else _lines(path, text)
    if not rows:
        raise DataError(f"{path}: no class in it", hint="one class name a line")
    for what, items in (
        ("name", [r.name for r in rows]),
        ("value", [r.value for r in rows]),
        ("colour", [r.colour for r in rows if r.colour]),
    ):
        twice = [x for x in items if items.count(x) > 1]  # type: ignore[arg-type]
        if twice:
            raise DataError(f"{path}: the {what} {twice[0]!r} stands there twice", hint="each class once")
    if len(rows) > MOST:
        raise DataError(f"{path}: {len(rows)} classes", hint=f"at most {MOST} can be told apart in a mask")
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
    found = []
    for place, row in enumerate(rows[1:]):
        row = row + [""] * (len(names) - len(row))
        where = f"{path}:{place + 2}"
        number = _whole(row[value], where) if value is not None else place
        colour = _colour([row[i or 0] for i in rgb], where) if coloured else None
        found.append(ClassRow(row[name], number, colour))
    return found


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
        raise DataError(f"{where}: {text!r} is no whole number", hint="columns: name,value,r,g,b") from None


def _colour(parts: Sequence[str], where: str) -> Colour:
    r, g, b = (_whole(p, where) for p in parts)
    if max(r, g, b) > 255 or min(r, g, b) < 0:
        raise DataError(f"{where}: {r}, {g}, {b} is no colour", hint="red, green and blue from 0 to 255")
    return r, g, b


def from_list(rows: Sequence[ClassRow], void: str | None, path: Path) -> Legend:
    """The legend that a list of classes gives.

    Args:
        rows: of the list.
        void: a class, or a number, that says "nobody knows".
        path: of the list, for messages.

    Raises:
        UnknownName: when `void` is neither a number nor one of the names.
        DataError: when fewer than two classes are left.
    """
    number = int(void) if void is not None and _is_number(void) else None
    if void is not None and number is None and void not in {r.name for r in rows}:
        raise UnknownName("class", void, [r.name for r in rows])
    nobody = [r for r in rows if r.value == number or r.name == void or r.name.lower().strip("_ ") in _NOBODY]
    real = [r for r in rows if r not in nobody]
    if len(real) < 2:
        raise DataError(f"{path}: {len(real)} class besides void", hint="two are needed to tell apart")
    free = {VOID} - {r.value for r in real} | ({number} if number is not None else set())
    colours = tuple(r.colour for r in real if r.colour is not None)
    return Legend(
        tuple(r.name for r in real),
        tuple(r.value for r in real),
        colours if len(colours) == len(real) else (),
        tuple(sorted({r.value for r in nobody} | free)),
        tuple(r.colour for r in nobody if r.colour is not None),
    )


def from_values(values: Iterable[int], void: str | None, palette: Mapping[int, int]) -> Legend:
    """A legend made of the numbers that masks hold; 0 and 255 alone are background and foreground.

    Raises:
        UnknownName: when `void` is none of the numbers.
        DataError: when there are fewer than two, or more than anybody would name.
    """
    if void is not None and not _is_number(void):
        raise UnknownName("number in the masks, which have no list of classes,", void, map(str, sorted(values)))
    nobody = {int(void)} if void is not None else set()
    seen = set(values) - nobody
    if seen == {0, VOID}:
        return Legend(("background", "foreground"), (0, VOID), (), tuple(sorted(nobody)))
    real = sorted(seen - {VOID})
    _plausible(len(real), f"the masks hold {len(real)} different numbers")
    colours = tuple(split_colour(palette[v]) for v in real) if all(v in palette for v in real) else ()
    if all(r == g == b for r, g, b in colours):  # greys say no more than the numbers
        colours = ()
    return Legend(tuple(map(str, real)), tuple(real), colours, tuple(sorted({*nobody, VOID})))


def from_colours(colours: Iterable[int], void: str | None = None) -> Legend:
    """A legend made of the colours that masks hold; black comes first, the rest by their code.

    Raises:
        UnknownName: when `void` is none of them, as `#rrggbb`.
        DataError: when there are fewer than two, or more than anybody would name.
    """
    names = {f"#{c:06x}": c for c in sorted(colours)}
    if void is not None and void.lower() not in names:
        raise UnknownName("colour in the masks, which have no list of classes,", void, names)
    nobody = {names[void.lower()]} if void is not None else set()
    real = [c for c in names.values() if c not in nobody]
    _plausible(len(real), f"the masks hold {len(real)} different colours")
    rgb = tuple(split_colour(c) for c in real)
    return Legend(
        tuple(f"#{c:06x}" for c in real), tuple(range(len(real))), rgb, (VOID,), tuple(map(split_colour, nobody))
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _plausible(count: int, words: str) -> None:
    hint = "name the classes in classes.txt, or with colours in classes.csv: name,r,g,b"
    if count > MOST_UNNAMED:
        raise DataError(f"{words}: soft edges, or the numbers of single objects?", hint=hint)
    if count < 2:
        raise DataError(f"{words}: nothing to tell apart", hint=hint)


def split_colour(code: int) -> Colour:
    """0xRRGGBB as three numbers."""
    return code >> 16, code >> 8 & 255, code & 255


def code_of(colour: Colour) -> int:
    """Three numbers as 0xRRGGBB."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]
