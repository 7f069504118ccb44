"""`foveal audit`."""

from __future__ import annotations

from typing import Annotated

import typer

from foveal.cli.console import Terminal, put, put_json, say
from foveal.config import MAX_PIXELS

_SHOWN = 3


def audit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder of class folders, or of images/ and masks/; a CSV or JSONL file, or sample:clipart.",
        ),
    ],
    task: Annotated[str, typer.Option(help="classify, segment, or auto: as the data look.")] = "auto",
    classes: Annotated[str | None, typer.Option(metavar="FILE", help="Names of the classes in masks.")] = None,
    void: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Class or number in masks that says: nobody knows.")
    ] = None,
    group_by: Annotated[str | None, typer.Option(help="Regular expression on paths below DATA.")] = None,
    max_pixels: Annotated[int, typer.Option(help="Refuse pictures with more pixels.")] = MAX_PIXELS,
    json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Say what is wrong with the pictures, before anything is trained. Ends with 1 when something is."""
    from foveal.data import Reading, Wanted
    from foveal.data import audit as look_through

    with Terminal().stage("read and audit") as bar:
        reading = Reading(cache=True, on_start=bar.total, on_each=bar)
        wanted = Wanted(task, group_by, classes, void)
        found = look_through(data, wanted, max_pixels=max_pixels, reading=reading)
    if json:
        put_json(found.to_dict())
    else:
        sizes = found.classes()
        named = ", ".join(f"{label} {n}" for label, n in sizes.items())
        put(f"{len(found.records)} pictures read, {len(found.left_out)} left out; {len(sizes)} classes: {named}")
        for finding in found.findings:
            put(f"{finding.severity:<8} {finding.message}")
            for group in finding.paths[:_SHOWN]:
                put(f"         {'  =  '.join(group)}")
            if len(finding.paths) > _SHOWN:
                put(f"         … all of them with --json ({finding.count})")
            put(f"         hint: {finding.hint}")
        say("nothing to act on" if found.clean else "these are worth a look before you train")
    raise typer.Exit(0 if found.clean else 1)
