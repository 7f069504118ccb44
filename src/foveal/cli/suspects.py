"""`foveal suspects`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveal.cli.console import Terminal, put, put_json
from foveal.cli.named_run import run_named
from foveal.cli.options import Quiet

if TYPE_CHECKING:
    from foveal.evaluation.suspects import Suspects

#: Lines that are printed unless `--top` says otherwise.
_SHOWN = 20


def suspects(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or latest.")],
    top: Annotated[
        int | None,
        typer.Option(min=1, help="List so many images, from the least credible label; by default those flagged."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Also write the list as a CSV file: set its labels right, then train --corrections FILE."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file at --out even if foveal did not write it.")
    ] = False,
    quiet: Quiet = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """List images whose label looks wrong, and classes that are confused.

    By predictions of models that had not learned from the image. The images themselves are not opened.
    """
    from foveal.data.wording import count_of
    from foveal.evaluation.suspects import find_suspects, save_table

    terminal = Terminal(quiet=quiet)
    found = find_suspects(run_named(run, terminal))
    listed = found.flagged if top is None else found.ranked[:top]
    if out is not None:
        save_table(listed, out, overwrite=overwrite)
    if json:
        put_json(found.to_dict(top))
        return
    _show(found, len(listed) if top is not None else min(_SHOWN, len(listed)))
    if top is None and (more := len(listed) - _SHOWN) > 0:
        terminal.say(f"{more} more are flagged: --top {len(listed)} prints them, --out FILE writes them")
    if len(found.ranked) < found.images:
        terminal.say(f"no prediction for {found.images - len(found.ranked)} of {count_of(found.images, 'image')}")
    if out is not None:
        rows = count_of(len(listed), "row")
        terminal.say(f"{rows} in {out}: set the labels right, then train with --corrections {out}")


def _show(found: Suspects, count: int) -> None:
    """For people."""
    put(f"{len(found.flagged)} of {len(found.ranked)} labels are taken to be wrong")
    for s in found.ranked[:count] if count else ():
        put(f"{s.score:6.3f}  {s.label} → {s.suggested} ({s.probability:.0%})  {s.path}")
    if found.flagged and found.test_images:
        worth = found.worth(len(found.flagged))
        put(
            f"{worth['in_test']} of them are test images: were all suggestions right, the measured accuracy would be"
        )
        put(f"{worth['accuracy_if_right']:.1%} instead of {worth['accuracy']:.1%}")
    for a, b, errors, images in found.confused[:3]:
        put(f"confused: {a} and {b}, {errors} of {images} images")
    for one, other in found.near_duplicates[:3]:
        put(f"nearly the same image with another label: {one}  =  {other}")
