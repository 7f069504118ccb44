"""`foveal plan`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveal.cli.console import put, put_json, say
from foveal.cli.layout import columns
from foveal.cli.svg_file import check_svg, write_svg
from foveal.errors import UsageError

if TYPE_CHECKING:
    from foveal.plans import Plan


def plan(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A zoo, timm or torchvision name (timm:NAME, torchvision:NAME), model:NAME, a run folder, an "
            ".onnx file, package.module:function, or a sketch such as conv100k3s2-relu-gap-dense10.",
        ),
    ],
    input: Annotated[
        str | None,
        typer.Option(metavar="CxHxW", help="One image; by default what the model says, or 3x224x224."),
    ] = None,
    batch: Annotated[int, typer.Option(help="Images in a training step.")] = 32,
    classes: Annotated[int, typer.Option(help="Number of classes of an untrained network.")] = 1000,
    optimizer: Annotated[str, typer.Option(help="sgd, adamw, adam, rmsprop, sgd-plain, …")] = "sgd",
    precision: Annotated[str, typer.Option(help="fp32, or bf16 (autocast).")] = "fp32",
    checkpoint: Annotated[str, typer.Option(help="none, or blocks: compute their activations again.")] = "none",
    frozen: Annotated[bool, typer.Option("--frozen", help="Only the last layer is trained.")] = False,
    device: Annotated[
        str, typer.Option(help="Planned for: cpu, or cuda:24GiB with the memory of a GPU, which need not be here.")
    ] = "cpu",
    memory: Annotated[str | None, typer.Option(help="Memory budget, such as 8GiB.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the CPU; by default as many as torch uses.")] = None,
    layers: Annotated[bool, typer.Option("--layers/--no-layers", help="Show the table of layers.")] = True,
    remedies: Annotated[
        bool | None,
        typer.Option("--remedies/--no-remedies", help="Trace remedies; by default when it does not fit."),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw memory over the step into an SVG file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a network costs before it runs, whether it fits, and what to do if not."""
    from foveal.planner import plan as make_plan

    if svg is not None:
        check_svg(svg)
    found = make_plan(
        model,
        input=_shape(input),
        batch=batch,
        classes=classes,
        optimizer=optimizer,
        precision=precision,
        checkpoint=checkpoint,
        frozen=frozen,
        device=device,
        memory=memory,
        threads=threads,
        remedies=remedies,
    )
    _show(found, layers=layers, svg=svg, json=json)
    if not found.fits.ok:
        raise typer.Exit(1)


def _show(found: Plan, *, layers: bool, svg: Path | None, json: bool) -> None:
    from foveal.planner.sheet import plan_text
    from foveal.planner.timeline import svg_timeline, terminal_timeline

    if svg is not None:
        write_svg(svg, svg_timeline(found.train, f"{found.model}: memory over a training step"))
        say(f"drawn into {svg}")
    if json:
        put_json(found.to_dict())
    else:
        put(plan_text(found, layers=layers, width=columns()))
        put("")
        put(terminal_timeline(found.train, width=columns() - 14))


def _shape(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(re.fullmatch(r"\d{1,9}", p) and int(p) for p in parts):
        raise UsageError(f"--input {text[:60]}: not channels, height, width", hint="as in --input 3x224x224")
    return int(parts[0]), int(parts[1]), int(parts[2])
