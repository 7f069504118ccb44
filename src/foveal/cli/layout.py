"""Text that fits the terminal: lines break between words."""

from __future__ import annotations

import shutil
import textwrap

#: Below so many columns text is not broken further; without a terminal it is broken at `_USUAL`.
_FEWEST, _USUAL = 40, 80


def columns() -> int:
    """The width of the terminal: `COLUMNS` if that is set, and 80 without a terminal."""
    return max(_FEWEST, shutil.get_terminal_size((_USUAL, 24)).columns)


def hanging(start: str, text: str, width: int) -> list[str]:
    """The lines of a text after `start`, under which the later lines are indented. Long words, as paths, stay whole."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [start.rstrip()]
