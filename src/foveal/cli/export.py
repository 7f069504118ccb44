"""`foveal export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveal.cli.console import Terminal, put, put_json, say
from foveal.cli.named_run import run_named
from foveal.cli.options import Quiet

if TYPE_CHECKING:
    from foveal.export.export_run import Exported


def export(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run folder, a bundle, model:NAME, or latest: the newest finished run below runs/.",
        ),
    ],
    to: Annotated[str, typer.Option(help="onnx, for ONNX Runtime and browsers; or openvino.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to make (default: exports/FORMAT in the run).")
    ] = None,
    images: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Check on these images instead of those of the run.")
    ] = None,
    license: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Licence of your model, written into the file.")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Compute in 8-bit integers; calibrated on the run's training images.")
    ] = False,
    max_drop: Annotated[
        float,
        typer.Option(
            metavar="POINTS", help="Percentage points of accuracy that --int8 may cost, held-out images."
        ),
    ] = 0.5,
    quiet: Quiet = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Export a model as a file that needs no foveal: images of any size in, answers out.

    Resizing, colours, calibration and thresholds are part of the file. It is compared with the run on your images
    before it is published. Exits with 1, and publishes nothing, if they disagree.
    """
    from foveal.export.export_run import export_run

    terminal = Terminal(quiet=quiet)
    done = export_run(
        run_named(run, terminal),
        to,
        out=out,
        images=images,
        licence=license,
        int8=int8,
        max_drop=max_drop,
        progress=terminal,
    )
    if json:
        put_json({"schema": 1, "folder": str(done.folder), "published": done.published, **done.record})
    _report(done, terminal)
    if not done.published:
        raise typer.Exit(1)
    if not json:
        put(str(done.folder))


def _report(done: Exported, terminal: Terminal) -> None:
    found = done.agreement
    low, high = (100 * bound for bound in found.equal_ci95)
    what = "equal answers" if found.largest_difference is not None else "equal pixels"
    line = (
        f"{100 * found.equal:.1f} % {what} on {found.n} of your images (95 % interval {low:.1f} to {high:.1f} %)"
    )
    if found.largest_difference is not None:
        line += f", largest difference of a probability {found.largest_difference:.4f}"
    if (loss := done.loss) is not None:
        low, high = loss.drop_ci95
        line += (
            f"\nint8 costs {loss.drop_points:.2f} points of accuracy on {loss.n} validation images (95 % interval "
            f"{low:.2f} to {high:.2f}; {loss.max_drop:g} are allowed)"
        )
    if done.published:
        terminal.say(line)
        return
    say(line)
    if loss is not None:
        say(f"foveal: int8 costs more than is allowed: {done.folder} was not written")
        say("hint: export without --int8, or allow more with --max-drop")
        return
    say(f"foveal: the exported model does not answer as the run does: {done.folder} was not written")
    for path in found.different[:3]:
        say(f"another answer: {path}")
    say("hint: please report this, with the figures above and the output of `foveal doctor`")
