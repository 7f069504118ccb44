"""`foveal VERB …`: the commands and their exit codes.

Exit codes: 0 success · 1 success with a negative result (findings, does not fit) · 2 wrong usage or bad input ·
3 internal error · 130/143 stopped by a signal.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from foveal.cli.console import StdoutError, drop_stdout, prepare_streams, put, say
from foveal.cli.spellings import refuse_command
from foveal.cli.usage_errors import in_our_words
from foveal.cli.verbs import NAMES, PANELS, Commands, summary_of
from foveal.errors import FovealError
from foveal.machine import share_cores
from foveal.prefetch import is_importing
from foveal.version import __version__


class _Grouped(TyperGroup):
    """The commands of `verbs`, listed by their headings, without the cost of importing rich."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(**settings)
        self.commands = Commands()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
        return list(NAMES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        for panel, names in PANELS.items():
            with formatter.section(panel):
                formatter.write_dl([(name, summary_of(name)) for name in names])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        if args and args[0] not in NAMES:
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
    atexit.register(_leave_objects)
    sys.exit(code)


def _leave_objects() -> None:
    """Spare the interpreter a last search for garbage, which takes as long as to predict an image.

    Some libraries report at exit what was not freed; they come with torch and with ONNX.
    """
    if not {"torch", "onnx"} & sys.modules.keys():
        gc.freeze()


if __name__ == "__main__":
    main()
