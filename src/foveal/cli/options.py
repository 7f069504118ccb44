"""Options of the command line, made from the settings in `foveal.config`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import typer

from foveal.config import TrainConfig, default_of, settings_of
from foveal.devices import check_device, using_device

Command = Callable[..., None]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only the result and errors: no progress, no messages.")
]


def option(name: str, owner: type = TrainConfig) -> Any:  # noqa: ANN401  (typer's own type is private)
    """The option for one setting, for a command that takes some of them: `Annotated[str, option("task")]`."""
    about = settings_of(owner)[name]
    text = f"{about.full_help} {about.cli_help}".rstrip()
    is_flag = isinstance(default_of(owner, name), bool)
    return typer.Option(help=text, metavar=None if is_flag else about.metavar)


def _use_device(context: typer.Context, device: str) -> str:
    if not context.resilient_parsing:
        check_device(device)
        context.with_resource(using_device(device))
    return device


#: For commands other than `train`: the device holds until the command ends.
Device = Annotated[
    str,
    typer.Option(
        help=settings_of(TrainConfig)["device"].help,
        metavar=settings_of(TrainConfig)["device"].metavar,
        callback=_use_device,
    ),
]


def _as_typed(kind: Any) -> Any:  # noqa: ANN401
    """The type of a setting on the command line: text, where Python takes numbers as well."""
    if str not in get_args(kind):
        return kind
    return str | None if NoneType in get_args(kind) else str


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
                    annotation=Annotated[_as_typed(types[name]), option(name, owner)],
                )
            )
        signature = inspect.Signature([*leading, *options, *trailing.values()])
        command.__signature__ = signature  # type: ignore[attr-defined]
        return command

    return decorate
