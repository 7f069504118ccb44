"""`foveal predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from foveal.cli.console import Terminal, counted, say


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or a bundle.")],
    pictures: Annotated[list[str], typer.Argument(metavar="PATH…", help="Files, folders, or globs in quotes.")],
    topk: Annotated[int, typer.Option(min=1, help="How many classes to list.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Write a .csv, .parquet or .json file; by default CSV to stdout.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="csv, parquet or json, when the name does not tell.")] = None,
    precision: Annotated[str | None, typer.Option(help="Pin f32 or bf16.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Name what is on pictures. A file that can't be read becomes a row with its reason."""
    from foveal.errors import UsageError
    from foveal.ship import Predictor, find_pictures
    from foveal.ship.tables import format_of, write_csv, write_file, write_json

    kind = format_of(out or Path("stdout.csv"), format)
    if precision not in (None, "f32", "bf16"):
        raise UsageError(f"{precision!r} is no precision", hint="f32 or bf16")
    if out is None and kind == "parquet":
        raise UsageError("Parquet can't go to a terminal", hint="name a file: --out answers.parquet")
    predictor = Predictor.load(run, precision=precision)
    found = find_pictures(pictures)
    with Terminal().stage("predict") as bar:
        answers = counted(predictor.stream(found, topk=topk), bar)
        if out is not None:
            say(f"{write_file(answers, out, kind, topk=topk)} answers in {out}")
        elif json or kind == "json":
            write_json(answers, sys.stdout)
        else:
            sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
            write_csv(answers, sys.stdout, topk=topk)
