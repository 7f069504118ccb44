"""Text from files and clients, made harmless for a terminal or a log."""

from __future__ import annotations

import re

#: Characters with which a name could command a terminal or reorder a line: controls except tab and line feed, marks of
#: writing direction, line separators; and bytes of file names that are not UTF-8.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    r"""Text for a terminal: characters that could command it are shown as escapes, such as `\x1b`."""
    return _UNSAFE.sub(lambda found: _escape(ord(found.group())), text)


def _escape(code: int) -> str:
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code  # how Python keeps a byte that is not UTF-8
    return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{byte:04x}"


def one_line(text: str) -> str:
    """Text for one line of a log or a table: as `harmless`, and tabs and line ends are escapes as well."""
    return harmless(text).replace("\t", "\\t").replace("\n", "\\n")
