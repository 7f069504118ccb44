"""The commands by name. Each is imported when it is used: importing all of them would slow down every start."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer.main import get_command

from foveal.cli.spellings import CommandWithAnswers

#: Headings of `foveal --help` and the commands below each. `foveal.cli.NAME` has a function of the same name.
PANELS = {
    "Your pictures": ("train", "audit", "label", "evaluate", "compare", "suspects", "predict", "serve", "export"),
    "Understand CNNs": ("plan", "zoo", "study"),
    "This machine": ("doctor", "help"),
}
NAMES = tuple(name for names in PANELS.values() for name in names)


def function_of(name: str) -> Callable[..., Any]:
    """What a command runs. `name` is one of `NAMES`."""
    function: Callable[..., Any] = getattr(import_module(f"foveal.cli.{name}"), name)
    return function


def summary_of(name: str) -> str:
    """The first sentence of a command's help. `name` is one of `NAMES`."""
    paragraph = " ".join((inspect.getdoc(function_of(name)) or "").partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".") + "."


@cache
def command_of(name: str) -> Any:  # noqa: ANN401  (typer's own types are private)
    """A command as typer runs it. `name` is one of `NAMES`."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(cls=CommandWithAnswers)(function_of(name))
    return get_command(alone)


class Commands(dict[str, Any]):
    """The commands by name, each made when it is looked up."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(NAMES))

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        if name not in self:
            raise KeyError(name)
        return command_of(name)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """See `dict.get`."""
        return self[name] if name in self else default  # noqa: SIM401  (that would be this method)
