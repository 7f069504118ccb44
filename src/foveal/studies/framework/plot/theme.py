"""Colours of a figure: each is a variable of the page's style sheet, which has a light and a dark scheme."""

from __future__ import annotations

#: CSS variable → its value in the light scheme, as `templates/style.css` has it.
COLOURS = {
    "card": "#ffffff",
    "ink": "#1c2128",
    "soft": "#59636e",
    "line": "#d9dee3",
    "faint": "#eceff2",
    "s0": "#1558b0",
    "s1": "#b5480f",
    "s2": "#0b746b",
    "s3": "#7a3aa8",
    "s4": "#6d6400",
    "s5": "#b02a66",
    "s6": "#4d5a68",
}
INK, SOFT, LINE, FAINT, CARD = (COLOURS[name] for name in ("ink", "soft", "line", "faint", "card"))
_SERIES = [colour for name, colour in COLOURS.items() if name.startswith("s") and name[1:].isdigit()]


def series_colour(number: int) -> str:
    """The colour of a series; they repeat after seven."""
    return _SERIES[number % len(_SERIES)]


def as_variables(style: str) -> str:
    """A style attribute with each known colour replaced by its variable."""
    for name, colour in COLOURS.items():
        style = style.replace(colour, f"var(--{name})")
    return style
