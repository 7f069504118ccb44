"""Options of the command line, made from the settings in `foveal.config`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_type_hints

import typer

from foveal.config import TrainConfig, default_of, settings_of

Command = Callable[..., None]


def option(name: str, owner: type = TrainConfig) -> Any:  # noqa: ANN401  (typer's own type is private)
    """The option for one setting, for a command that takes some of them: `Annotated[str, option("task")]`."""
    about = settings_of(owner)[name]
    text = f"{about.full_help} {about.cli_help}".rstrip()
    is_flag = isinstance(default_of(owner, name), bool)
    return typer.Option(help=text, metavar=None if is_flag else about.metavar)


def takes_settings(owner: type, *, before: Mapping[str, str]) -> Callable[[Command], Command]:
    """Decorator for a command: its `**settings` become one option for each setting of a dataclass.

    In help the command's positional parameters come first, its keyword-only parameters last.

    Args:
        owner: the dataclass, `TrainConfig`.
        before: keyword-only parameters that help lists among the settings: by setting, the one to list before it.
    """
    types = get_type_hints(owner)

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters
        leading = [p for p in own.values() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        trailing = {p.name: p for p in own.values() if p.kind is inspect.Parameter.KEYWORD_ONLY}
        options = []
        for name in settings_of(owner):
            if name in before:
                options.append(trailing.pop(before[name]))
            options.append(
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=default_of(owner, name),
                    annotation=Annotated[types[name], option(name, owner)],
                )
            )
        signature = inspect.Signature([*leading, *options, *trailing.values()])
        command.__signature__ = signature  # type: ignore[attr-defined]
        return command

    return decorate
