"""`foveal help`."""

from __future__ import annotations

from typing import Annotated

import typer


def help(
    context: typer.Context,
    verb: Annotated[str | None, typer.Argument(metavar="[VERB]", help="A command; without, all of them.")] = None,
) -> None:
    """Show the commands, or the options of one."""
    root = context.find_root()
    arguments = [*([verb] if verb else []), "--help"]
    root.command(arguments, prog_name=root.info_name, standalone_mode=False)
