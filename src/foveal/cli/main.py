"""`foveal VERB …`: the verbs, and how each ends.

Exit codes: 0 done · 1 done, and the answer is "no" · 2 wrong usage or bad input · 3 a fault of
ours · 130/143 stopped by a signal.
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

from foveal import __version__
from foveal.cli.audit import audit
from foveal.cli.console import put, say
from foveal.cli.doctor import doctor
from foveal.cli.evaluate import evaluate
from foveal.cli.plan import plan
from foveal.cli.predict import predict
from foveal.cli.study import study
from foveal.cli.train import train
from foveal.cli.zoo import zoo
from foveal.errors import FovealError
from foveal.machine import share_cores


class _Grouped(TyperGroup):
    """Lists the verbs under the headings of their `rich_help_panel`, without the cost of importing rich."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            panel = str(getattr(command, "rich_help_panel", None) or "Commands")
            panels.setdefault(panel, []).append((name, command.get_short_help_str(80) if command else ""))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


app = typer.Typer(
    name="foveal",
    cls=_Grouped,
    help="Image classifiers you can believe, from a folder of pictures, on the machine you have.",
    epilog="foveal VERB --help tells more. Nothing foveal does leaves this machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PICTURES = "Your pictures"
for _verb in (train, audit, evaluate, predict):
    app.command(rich_help_panel=_PICTURES)(_verb)
app.command(rich_help_panel="Understand CNNs")(plan)
app.command(rich_help_panel="Understand CNNs")(zoo)
app.command(rich_help_panel="Understand CNNs")(study)
app.command(rich_help_panel="This machine")(doctor)


def _version(asked: bool) -> None:
    if asked:
        put(f"foveal {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point: run a verb and end with the right code."""
    share_cores()
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if hasattr(signal, "SIGPIPE"):  # `foveal predict … | head`: end quietly when the reader has seen enough
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        app()
    except FovealError as error:
        say(f"foveal: {error}")
        if error.hint:
            say(f"hint: {error.hint}")
        _end(error.exit_code)
    except SystemExit as ended:
        _end(ended.code)
    except Exception:
        traceback.print_exc()
        say("foveal: this is a fault of ours, not yours. Please report it with the lines above,")
        say("hint: the command you gave, and what `foveal doctor` prints")
        sys.exit(3)


def _end(code: str | int | None) -> NoReturn:
    """After a signal at once: native threads still compute or import, and an interpreter that is torn down beneath
    them ends with SIGSEGV now and then."""
    if code in (130, 143):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(int(code))
    sys.exit(code)


if __name__ == "__main__":
    main()
