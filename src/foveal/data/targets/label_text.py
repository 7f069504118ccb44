"""Several labels of one image as one text: a JSON list, sorted and without repetitions, in tables and records alike.

So `split.csv` holds such images as it does all others, and is a table to train from.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from functools import lru_cache

#: Longer texts are not taken for a list that Python wrote: parsing them is not bounded otherwise.
_LONGEST = 100_000
_SHOWN = 60


def text_of(labels: Iterable[str]) -> str:
    """The text of labels."""
    return json.dumps(sorted(set(labels)), ensure_ascii=False)


@lru_cache(maxsize=1 << 16)
def labels_in(text: str | None) -> tuple[str, ...]:
    """The labels of a text that `text_of` made; none of None.

    Raises:
        ValueError: for any other text.
    """
    labels = json.loads(text) if text else []
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"{_short(text)} is not a list of labels")
    return tuple(labels)


def read_labels(value: object, separator: str | None = None) -> str:
    """A value of a table as the text of its labels; empty where there is none, which is not an empty list.

    Args:
        value: a list of names or numbers; or text: a list as JSON or as Python writes it, or names with the separator
            between them.
        separator: None: text has to be a list.

    Raises:
        ValueError: when it is none of these.
    """
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        value = _parsed(value.strip(), separator)
    if not isinstance(value, list | tuple):
        raise ValueError(f"{_short(value)} is not a list of labels")
    return text_of(_name(item) for item in value)


def is_list(value: object) -> bool:
    """Whether a value of a table is a list, or text that is one."""
    if isinstance(value, str):
        try:
            value = _parsed(value.strip(), None)
        except ValueError:
            return False
    return isinstance(value, list | tuple)


def _parsed(text: str, separator: str | None) -> object:
    if not (text.startswith("[") and text.endswith("]")):
        return text if separator is None else text.split(separator)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text[:_LONGEST])
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{_short(text)} is not a list of labels") from None


def _name(item: object) -> str:
    if isinstance(item, bool) or not isinstance(item, str | int | float):
        raise ValueError(f"{_short(item)} is not the name of a label")
    name = str(item).strip()
    if not name:
        raise ValueError("the name of a label is empty")
    return name


def _short(value: object) -> str:
    return repr(value)[:_SHOWN]
