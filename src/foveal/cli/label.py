"""`foveal label`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foveal.cli.console import Terminal, put, put_json
from foveal.cli.options import Quiet, option
from foveal.cli.serve_extra import check_extra
from foveal.config import TrainConfig
from foveal.errors import UsageError
from foveal.serving.settings import ServeSettings

#: Images a class that the page counts towards.
_GOAL = 100
#: The CSV where none is named.
_DEFAULT = "labels.csv"


def label(
    pictures: Annotated[
        str,
        typer.Argument(
            metavar="PICTURES",
            help="A folder of images, at any depth; a zip or tar file of them, or sample:clipart. Names of folders are "
            "not taken for labels.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV with path,label,sha256, written after every action; by default labels.csv here. FILE.journal "
            "beside it keeps the groups and the undo. Where they exist, labelling goes on.",
        ),
    ] = None,
    goal: Annotated[
        int, typer.Option(metavar="INTEGER", min=1, help="Images that each class should have.")
    ] = _GOAL,
    host: Annotated[str, option("host", ServeSettings)] = ServeSettings.host,
    port: Annotated[int, option("port", ServeSettings)] = ServeSettings.port,
    allow_host: Annotated[str, option("allow_host", ServeSettings)] = ServeSettings.allow_host,
    token_file: Annotated[str | None, option("token_file", ServeSettings)] = ServeSettings.token_file,
    max_pixels: Annotated[int, option("max_pixels")] = TrainConfig.max_pixels,
    quiet: Quiet = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when the page is ready: url, token, out.")
    ] = False,
) -> None:
    """Label images on a local page: name groups of similar images, get a CSV for `train`.

    Nothing is moved or renamed. Only this machine can connect, unless --host says otherwise. Stops on Ctrl-C; every
    label is on disk already.
    """
    check_extra()
    from foveal.data.sources.unlabelled import list_unlabelled
    from foveal.serving.label_launch import Labelling, serve_labelling
    from foveal.serving.launch import address_of, listen
    from foveal.serving.tokens import given_token, token_of

    settings = ServeSettings(
        host=host, port=port, allow_host=allow_host, token_file=token_file, require_token=True
    )
    token = token_of(settings)
    listing = list_unlabelled(pictures)
    table = _checked_table(out, listing.root)
    terminal = Terminal(quiet=quiet)
    with listen(settings) as listening:
        url = address_of(listening)

        def ready() -> None:
            shown = None if given_token(settings) else token
            if json:
                put_json(
                    {"schema": 1, "url": url, "token": shown, "out": str(table), "images": len(listing.entries)}
                )
            else:
                put(f"{url}/#token={shown}" if shown else url)
                terminal.say(f"open this address in a browser; labels go to {table}; stop with Ctrl-C")

        serve_labelling(Labelling(listing, table, goal, max_pixels, settings, token), listening, ready)


def _checked_table(out: Path | None, folder: str) -> Path:
    """The CSV that is to be written.

    Raises:
        UsageError: when it can't be, is a file of somebody else, or would be among the images without being asked to.
    """
    from foveal.labelling.table import is_label_table
    from foveal.output_files import check_file

    table = out if out is not None else Path(_DEFAULT)
    if out is None and Path(folder) in (Path.cwd(), *Path.cwd().parents):
        raise UsageError(
            f"{_DEFAULT} would be in {folder}, among the images",
            hint=f"say where: --out ../{_DEFAULT}, for example",
        )
    check_file(table, is_ours=is_label_table, hint="name another file with --out")
    return table
