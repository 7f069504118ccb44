"""`foveal predict`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveal.cli.console import Terminal, counted, data_stream, put, put_json, say
from foveal.cli.image_arguments import files_read, find_named, hint_about, paths_among
from foveal.cli.named_run import run_named
from foveal.cli.options import Device, Quiet
from foveal.config import TrainConfig
from foveal.errors import UsageError
from foveal.machine import bytes_of, few_collections

if TYPE_CHECKING:
    from foveal.inference.outputs.outcome import Outcome


def predict(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run folder, a bundle, model:NAME, or latest: the newest finished run below runs/.",
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Files, folders, globs in quotes, tar or Parquet shards, or - for one image on stdin.",
        ),
    ],
    topk: Annotated[int, typer.Option(min=1, help="How many classes to list.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="A .csv, .parquet or .json file (default: CSV to stdout); for masks a folder."),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="csv, parquet or json, if the suffix of --out does not say.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files at --out even if foveal did not write them.")
    ] = False,
    precision: Annotated[str | None, typer.Option(help="Use fp32 or bf16; by default what is faster.")] = None,
    map: Annotated[
        bool,
        typer.Option("--map", help="Predict at every position of an image: overlays and arrays, into --out DIR."),
    ] = False,
    window: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", help="Window of each prediction of a map, in pixels."),
    ] = None,
    memory: Annotated[str | None, typer.Option(help="Limit for a map or mask, such as 2GiB.")] = None,
    quiet: Quiet = False,
    device: Device = TrainConfig.device,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Predict labels, or masks, for images.

    An image that can't be read becomes a row with the reason. Exits with 1 if there are such images, with 2 if no
    image can be read.
    """
    with few_collections():
        from foveal.inference.predictor import check_precision
    from foveal.output_files import names_stdout

    check_precision(precision)
    call = _Call(
        run_named(run, Terminal(quiet=quiet)),
        images,
        out=None if out is None or names_stdout(out) else out,
        overwrite=overwrite,
        memory=bytes_of(memory) if memory else None,
        json=json,
        quiet=quiet,
    )
    outcome = _map(call, window) if map else _predict(call, topk=topk, name=format, precision=precision)
    _report(outcome, quiet=quiet)


def _report(outcome: Outcome, *, quiet: bool) -> None:
    """Say what was skipped, and exit with the code for what failed."""
    from foveal.data.wording import count_of

    if outcome.skipped and not quiet:
        say(f"{count_of(len(outcome.skipped), 'file')} skipped, not images by name, such as {outcome.skipped[0]}")
    if outcome.failed:
        say(f"{outcome.failed} of {count_of(outcome.done, 'image')} could not be read")
        hints = {hint: path for path in outcome.failed_kinds.values() if (hint := hint_about(path))}
        for hint, path in hints.items():
            say(f"hint: {path}: {hint}")
        if outcome.failed == outcome.done and not hints:
            say("hint: give image files, such as JPEG or PNG, or folders that hold some")
        raise typer.Exit(1 if outcome.failed < outcome.done else 2)


@dataclass(frozen=True)
class _Call:
    """What is asked for."""

    run: str
    images: list[str]
    out: Path | None
    overwrite: bool
    memory: int | None
    json: bool
    quiet: bool


def _predict(call: _Call, *, topk: int, name: str | None, precision: str | None) -> Outcome:
    """Predictions in one of the output formats."""
    with few_collections():
        from foveal.data.wording import count_of
        from foveal.inference.outputs.formats import check_output, choose_format, wrote
        from foveal.inference.outputs.outcome import Outcome, at_least_one, write_errors
        from foveal.inference.outputs.output_format import OutputOptions
        from foveal.inference.predictor import load_predictor

    predictor = load_predictor(call.run, precision=precision, memory=call.memory)
    manifest, out, json = predictor.bundle.manifest, call.out, call.json
    output = choose_format(manifest.task, name=name, out=out, json=json)
    earlier = out if out is not None and out.is_file() and wrote(out) else None
    if out is not None:
        check_output(output, out, inputs=files_read(call.run, call.images, earlier), overwrite=call.overwrite)
    outcome = Outcome()
    images = find_named(call.images, besides=earlier, on_skipped=outcome.skipped.append)
    inputs = list(images) if output.folder else []  # files of their own must not take the place of an input
    terminal = Terminal(quiet=call.quiet, bars=not (sys.stdout.isatty() and (out is None or output.folder)))
    stream, topk = data_stream(), min(topk, len(manifest.classes))
    options = OutputOptions(
        topk=topk,
        label_map=manifest.label_map,
        classes=manifest.classes,
        inputs=paths_among(inputs),
        on_file=(lambda _: None) if json else lambda file: print(file, file=stream, flush=True),
        on_error=lambda path, reason: say(f"{path}: {reason}"),
        on_record=put_json if json else (lambda _: None),
        on_partial=lambda file: say(f"the predictions so far are in {file}"),
        overwrite=call.overwrite,
    )
    with terminal.stage("predict", len(inputs)) as bar, write_errors(out):
        predictions = counted(outcome.counted(predictor.stream(inputs or images, topk=topk)), bar)
        count = output.write(at_least_one(predictions, call.images), stream if out is None else out, options)
    if out is not None:
        terminal.say(f"{count_of(count, 'prediction')} in {out}{output.note}")
    return outcome


def _map(call: _Call, window: int | None) -> Outcome:
    """A dense map of each image."""
    from foveal.inference.dense_map import DenseMapPredictor
    from foveal.inference.outputs.map_files import map_records, maps_object, notes_on
    from foveal.inference.outputs.names import Names
    from foveal.inference.outputs.outcome import Outcome, at_least_one, write_errors
    from foveal.output_files import check_folder

    out, terminal, outcome = call.out, Terminal(quiet=call.quiet), Outcome()
    if out is None:
        raise UsageError("a map is written as a set of files", hint="say where: --map --out DIR")
    check_folder(out)
    inputs = list(find_named(call.images, on_skipped=outcome.skipped.append))
    names = Names(out, paths_among(inputs), overwrite=call.overwrite)
    predictor = DenseMapPredictor.load(call.run, window=window, memory=call.memory)
    made = map_records(predictor, inputs, out, names, lambda path, reason: say(f"{path}: {reason}"))
    with terminal.stage("map", len(inputs)) as bar, write_errors(out):
        records = list(at_least_one(counted(outcome.counted(made), bar), call.images))
    if call.json:
        put_json(maps_object(records, predictor.network))
        return outcome
    for record in records:
        if "error" not in record:
            _, h, w = record["shape"]
            put(f"{record['overlay']}  {h} × {w} predictions in {record['seconds']:.1f} s, {record['array']}")
    for note in notes_on(records, predictor.network):
        terminal.say(note)
    return outcome
