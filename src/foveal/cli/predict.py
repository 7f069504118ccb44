"""`foveal predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from foveal.cli.console import Terminal, counted, put, put_json, say


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or a bundle.")],
    pictures: Annotated[list[str], typer.Argument(metavar="PATH…", help="Files, folders, or globs in quotes.")],
    topk: Annotated[int, typer.Option(min=1, help="How many classes to list.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="A .csv, .parquet or .json file (default: CSV to stdout); for masks a folder."),
    ] = None,
    format: Annotated[str | None, typer.Option(help="csv, parquet or json, when the name does not tell.")] = None,
    precision: Annotated[str | None, typer.Option(help="Pin f32 or bf16.")] = None,
    map: Annotated[
        bool, typer.Option("--map", help="Answers all over each picture, as overlays and arrays, into --out DIR.")
    ] = False,
    window: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", help="What each answer of a map sees; by default the network's input."),
    ] = None,
    memory: Annotated[str | None, typer.Option(help="That a map or mask may take, as 2GiB.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Name what is on pictures, or on each of their pixels. What can't be read becomes a row with its reason."""
    if map:
        _map(run, pictures, out, window, memory, json)
        return
    from foveal.errors import UsageError
    from foveal.ship import Predictor, find_pictures, load_bundle

    if precision not in (None, "f32", "bf16"):
        raise UsageError(f"{precision!r} is no precision", hint="f32 or bf16")
    if out is None and (format or "").lower() == "parquet":
        raise UsageError("Parquet can't go to a terminal", hint="name a file: --out answers.parquet")
    if load_bundle(run).manifest.legend is not None:
        _masks(run, pictures, out, precision, memory, json)
        return
    from foveal.ship.tables import format_of, write_csv, write_file, write_json

    kind = format_of(out or Path("stdout.csv"), format)
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


def _masks(
    run: str, pictures: list[str], out: Path | None, precision: str | None, memory: str | None, json: bool
) -> None:
    """A class for each pixel."""
    from foveal.errors import UsageError
    from foveal.machine import bytes_of
    from foveal.ship import find_pictures
    from foveal.ship.mask_output import entries, write_masks
    from foveal.ship.masks import MaskPredictor
    from foveal.ship.naming import Names

    if out is None and not json:
        raise UsageError("masks are a set of files", hint="say where: --out DIR; or --json for COCO's code")
    if out is not None and out.is_file():
        raise UsageError(f"{out} is a file", hint="masks need a folder: --out DIR")
    limit = bytes_of(memory) if memory else None
    predictor = MaskPredictor.load(run, precision=precision, memory=limit)
    asked = list(find_pictures(pictures))
    names = Names(out, asked) if out else None
    with Terminal().stage("masks") as bar:
        answers = predictor.stream(counted(asked, bar))
        found = write_masks(answers, predictor.legend, out, names) if out else entries(answers, predictor.legend)
        rows = []
        for row in found:
            rows.append(row)
            if row["error"]:
                say(f"{row['path']}: {row['error']}")
            elif out is not None and not json:
                put(row["mask"])
    if json:
        put_json({"schema": 1, "predictions": rows})
    else:
        say(f"{sum(not r['error'] for r in rows)} masks in {out}, with overlays/ to look at and predictions.json")


def _map(
    run: str, pictures: list[str], out: Path | None, window: int | None, memory: str | None, json: bool
) -> None:
    """A map of answers over each picture."""
    from foveal.errors import UnreadableImage, UsageError
    from foveal.machine import bytes_of
    from foveal.ship import find_pictures
    from foveal.ship.maps import Mapper
    from foveal.ship.naming import Names
    from foveal.ship.overlay import write_maps

    if out is None:
        raise UsageError("a map is a set of files", hint="say where: --map --out DIR")
    mapper = Mapper.load(run, window=window, memory=bytes_of(memory) if memory else None)
    network, asked = mapper.network, list(find_pictures(pictures))
    names, written, refused = Names(out, asked), [], []
    with Terminal().stage("map") as bar:
        for path in counted(asked, bar):
            try:
                written.append(write_maps(mapper(path), out, names))
            except UnreadableImage as refusal:
                refused.append({"path": refusal.path, "error": f"{refusal.code}: {refusal.detail}"})
                say(f"{refusal.path}: {refusal.detail}")
    if json:
        about = {"padded": network.padded, "mixing": network.mixing, "remarks": network.remarks}
        put_json({"schema": 1, "maps": written, "refused": refused, "network": about})
        return
    for record in written:
        _, h, w = record["shape"]
        put(f"{record['overlay']}  {h} × {w} answers in {record['seconds']:.1f} s, {record['array']}")
    if network.mixing:
        say(
            f"note: {len(network.mixing)} layers see the whole picture ({network.mixing[0]} …): "
            "each answer depends on all of it"
        )
    if written and written[0]["agreement"]:
        found = written[0]["agreement"]
        say(
            f"checked at {found['places']} places against the network on that window alone: same class in "
            f"{100 * found['same']:.0f} %, probabilities {found['mean']:.3f} apart, at most {found['largest']:.3f}"
        )
