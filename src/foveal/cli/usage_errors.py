"""What typer finds wrong with a command line, in the words and the form of foveal's own errors."""

from __future__ import annotations

import re
import sys
from typing import Any

from foveal.errors import FovealError, UnknownName, UsageError

#: Words of typer → ours.
_WORDS = (
    (r"'[^']*' is not a valid int(?:eger)?(?: range)?", "it must be a whole number"),
    (r"'[^']*' is not a valid float(?: range)?", "it must be a number"),
    (r"\S+ is not in the range x>=(\S+)", r"it must be \1 or more"),
    (r"\S+ is not in the range x<=(\S+)", r"it must be \1 or less"),
    (r"\S+ is not in the range (\S+)<=x<=(\S+)", r"it must be \1 to \2"),
    (r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", r"unexpected argument: \1"),
    (r"requires an argument", "needs a value"),
    (r"\(Possible options: (.*)\)", r"(nearest: \1)"),
    (r"No such option:? ", "unknown option "),
    (r"(argument|parameter|for|Option) '([^']*)'", r"\1 \2"),
)


def in_our_words(error: Any) -> FovealError | None:  # noqa: ANN401  (typer's own types are private)
    """The error to report; None for an exception that is not about the command line."""
    if not hasattr(error, "format_message") or not hasattr(error, "exit_code"):
        return None
    message = str(error.format_message()).strip().rstrip(".")
    context: Any = getattr(error, "ctx", None)
    command: Any = getattr(context, "command", None)
    unknown = re.fullmatch(r"No such command '(.*?)'.*", message, re.DOTALL)
    if unknown and hasattr(command, "list_commands"):
        return UnknownName("command", unknown[1], command.list_commands(context))
    for theirs, ours in _WORDS:
        message = re.sub(theirs, ours, message)
    verb = (
        command.name
        if getattr(context, "parent", None) is not None
        else _verb_typed()
        if context is None
        else None
    )
    path = f"foveal {verb}" if verb else "foveal"
    return UsageError(message[:1].lower() + message[1:], hint=f"{path} --help")


def _verb_typed() -> str | None:
    """The command, for an error without a context."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    return word if word.isalpha() else None
