"""`foveal VERB …`: the commands and their exit codes.

Exit codes: 0 success · 1 success with a negative result (findings, does not fit) · 2 wrong usage or bad input ·
3 internal error · 130/143 stopped by a signal.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from foveal.cli.audit import audit
from foveal.cli.compare import compare
from foveal.cli.console import StdoutError, drop_stdout, prepare_streams, put, say
from foveal.cli.doctor import doctor
from foveal.cli.evaluate import evaluate
from foveal.cli.export import export
from foveal.cli.help import help
from foveal.cli.label import label
from foveal.cli.plan import plan
from foveal.cli.predict import predict
from foveal.cli.serve import serve
from foveal.cli.spellings import CommandWithAnswers, refuse_command
from foveal.cli.study import study
from foveal.cli.suspects import suspects
from foveal.cli.train import train
from foveal.cli.usage_errors import in_our_words
from foveal.cli.zoo import zoo
from foveal.errors import FovealError
from foveal.machine import share_cores
from foveal.prefetch import is_importing
from foveal.version import __version__

#: Characters of a summary in the list of commands: more than any of them has, so that none is cut.
_WHOLE = 1000


class _Grouped(TyperGroup):
    """Lists commands by their `rich_help_panel`, without the cost of importing rich."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            panel = str(getattr(command, "rich_help_panel", None) or "Commands")
            panels.setdefault(panel, []).append((name, command.get_short_help_str(_WHOLE) if command else ""))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        if args and self.get_command(ctx, args[0]) is None:
            refuse_command(args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="foveal",
    cls=_Grouped,
    help="Train trustworthy image classifiers from a folder of images, on your own machine.",
    epilog="See foveal VERB --help for the options. No data leave this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PANELS = {
    "Your pictures": (train, audit, label, evaluate, compare, suspects, predict, serve, export),
    "Understand CNNs": (plan, zoo, study),
    "This machine": (doctor, help),
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(cls=CommandWithAnswers, rich_help_panel=_panel)(_command)


def _version(requested: bool) -> None:
    if requested:
        put(f"foveal {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """The entry point: run a command and exit with its code."""
    prepare_streams()
    share_cores()
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if hasattr(signal, "SIGPIPE"):  # `foveal predict … | head`: exit quietly when the pipe is closed
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _exit(_run())


def _run() -> str | int | None:
    """The exit code of the command; anything that it raises is reported."""
    try:
        try:
            code = app(standalone_mode=False)  # errors are raised, and reported below
        finally:
            sys.stdout.flush()
    except StdoutError as error:
        drop_stdout(error)
        return 2
    except FovealError as error:
        return _reported(error)
    except SystemExit as exit_request:
        return exit_request.code
    except typer.Abort:
        return 1
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
            say(str(error.format_message()))  # type: ignore[attr-defined]
            return 2
        if (usage := in_our_words(error)) is not None:
            return _reported(usage)
        say(traceback.format_exc().rstrip())
        say("foveal: internal error, which is a bug in foveal")
        say("hint: please report it with the lines above, your command, and the output of `foveal doctor`")
        return 3
    return code if isinstance(code, int) else 0


def _reported(error: FovealError) -> int:
    say(f"foveal: {error}")
    if error.hint:
        say(f"hint: {error.hint}")
    return error.exit_code


def _exit(code: str | int | None) -> NoReturn:
    """Exit; after a signal, or while modules are still imported in the background, without finalizing the interpreter.

    Native threads may still compute or import then, and finalizing the interpreter under them can end in SIGSEGV.
    """
    if code in (130, 143) or (isinstance(code, int) and is_importing()):
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        if files := sys.modules.get("foveal.files"):  # nothing else makes such a folder
            files.remove_process_folder()
        os._exit(int(code))
    sys.exit(code)


if __name__ == "__main__":
    main()
