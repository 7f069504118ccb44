"""`foveal predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from foveal.cli.console import Terminal, counted, put, put_json, say
from foveal.cli.options import Device, Quiet
from foveal.config import TrainConfig


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, a bundle, or model:NAME.")],
    images: Annotated[list[str], typer.Argument(metavar="PATH…", help="Files, folders, or globs in quotes.")],
    topk: Annotated[int, typer.Option(min=1, help="How many classes to list.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="A .csv, .parquet or .json file (default: CSV to stdout); for masks a folder."),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="csv, parquet or json, if the suffix of --out does not say.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Use fp32 or bf16; by default what is faster.")] = None,
    map: Annotated[
        bool, typer.Option("--map", help="Predict all over each image: overlays and arrays, into --out DIR.")
    ] = False,
    window: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", help="Side of the square that each prediction of a map is about."),
    ] = None,
    memory: Annotated[str | None, typer.Option(help="Limit for a map or mask, as 2GiB.")] = None,
    quiet: Quiet = False,
    device: Device = TrainConfig.device,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Predict labels, or masks, for images. An image that can't be read becomes a row with the reason."""
    from foveal.errors import UsageError
    from foveal.machine import bytes_of

    limit = bytes_of(memory) if memory else None
    if map:
        _map(run, images, out, window, limit, json, terminal=Terminal(quiet=quiet))
        return
    from foveal.inference.inputs import find_images
    from foveal.inference.outputs.formats import choose_format
    from foveal.inference.outputs.output_format import OutputOptions
    from foveal.inference.predictor import load_predictor

    if precision not in (None, "fp32", "bf16"):
        raise UsageError(f"invalid precision {precision!r}", hint="fp32 or bf16")
    predictor = load_predictor(run, precision=precision, memory=limit)
    manifest = predictor.bundle.manifest
    output = choose_format(manifest.task, name=format, out=out, json=json)
    paths = find_images(images)
    inputs = list(paths) if output.folder else []  # files of their own must not take the place of an input
    options = OutputOptions(
        topk=topk,
        label_map=manifest.label_map,
        inputs=inputs,
        on_file=(lambda _: None) if json else put,
        on_error=lambda path, reason: say(f"{path}: {reason}"),
        on_record=put_json if json else (lambda _: None),
    )
    if out is None:
        sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # names that are not UTF-8
    terminal = Terminal(quiet=quiet)
    with terminal.stage("predict") as bar:
        predictions = counted(predictor.stream(inputs or paths, topk=topk), bar)
        count = output.write(predictions, out if out is not None else sys.stdout, options)
    if out is not None:
        terminal.say(f"{count} predictions in {out}{output.note}")


def _map(
    run: str,
    images: list[str],
    out: Path | None,
    window: int | None,
    memory: int | None,
    json: bool,
    *,
    terminal: Terminal,
) -> None:
    """A dense map of each image."""
    from foveal.errors import UnreadableImage, UsageError
    from foveal.inference.dense_map import DenseMapPredictor
    from foveal.inference.inputs import find_images
    from foveal.inference.outputs.map_files import write_maps
    from foveal.inference.outputs.names import Names

    if out is None:
        raise UsageError("a map is written as a set of files", hint="say where: --map --out DIR")
    predictor = DenseMapPredictor.load(run, window=window, memory=memory)
    network, inputs = predictor.network, list(find_images(images))
    names, written, refused = Names(out, inputs), [], []
    with terminal.stage("map") as bar:
        for path in counted(inputs, bar):
            try:
                written.append(write_maps(predictor(path), out, names))
            except UnreadableImage as refusal:
                refused.append({"path": refusal.path, "error": f"{refusal.code}: {refusal.detail}"})
                say(f"{refusal.path}: {refusal.detail}")
    if json:
        about = {"padded": network.padded, "mixing": network.mixing, "remarks": network.remarks}
        put_json({"schema": 1, "maps": written, "refused": refused, "network": about})
        return
    for record in written:
        _, h, w = record["shape"]
        put(f"{record['overlay']}  {h} × {w} predictions in {record['seconds']:.1f} s, {record['array']}")
    if network.mixing:
        terminal.say(
            f"note: {len(network.mixing)} layers see the whole image ({network.mixing[0]} …): "
            "each prediction depends on all of it"
        )
    if written and written[0]["agreement"]:
        agreement = written[0]["agreement"]
        terminal.say(
            f"checked at {agreement['places']} places against the network on that window alone: same class in "
            f"{100 * agreement['same']:.0f} %, probabilities {agreement['mean']:.3f} apart, "
            f"at most {agreement['largest']:.3f}"
        )
