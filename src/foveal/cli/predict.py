"""`foveal predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from foveal.cli.console import Terminal, counted, data_stream, put, put_json, say
from foveal.cli.image_arguments import find_named, hint_about, paths_among
from foveal.cli.named_run import run_named
from foveal.cli.options import Device, Quiet
from foveal.config import TrainConfig
from foveal.data.wording import count_of
from foveal.errors import UsageError


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
        typer.Argument(metavar="PATH", help="Files, folders, globs in quotes, or - for one image on stdin."),
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
    from foveal.machine import bytes_of
    from foveal.output_files import names_stdout

    if precision not in (None, "fp32", "bf16"):
        raise UsageError(f"invalid precision {precision!r}", hint="fp32 or bf16")
    call = _Call(
        run_named(run, Terminal(quiet=quiet)),
        images,
        out=None if out is None or names_stdout(out) else out,
        overwrite=overwrite,
        memory=bytes_of(memory) if memory else None,
        json=json,
        quiet=quiet,
    )
    if map:
        _map(call, window)
    else:
        _predict(call, topk=topk, name=format, precision=precision)
    if call.skipped and not quiet:
        say(f"{count_of(len(call.skipped), 'file')} skipped: no image by its name, such as {call.skipped[0]}")
    if call.failed:
        say(f"{call.failed} of {count_of(call.done, 'image')} could not be read")
        for hint, path in call.hints.items():
            say(f"hint: {path}: {hint}")
        if call.failed == call.done and not call.hints:
            say("hint: give image files, such as JPEG or PNG, or folders that hold some")
        raise typer.Exit(1 if call.failed < call.done else 2)


@dataclass
class _Call:
    """What is asked for, how many predictions were made and failed, and the files that are no images by their name."""

    run: str
    images: list[str]
    out: Path | None
    overwrite: bool
    memory: int | None
    json: bool
    quiet: bool
    done: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    hints: dict[str, str] = field(default_factory=dict, init=False)  # → one of the files that it is about
    skipped: list[str] = field(default_factory=list, init=False)

    def counted(self, predictions: Iterable[Any]) -> Iterator[Any]:
        """Count predictions as they pass."""
        for prediction in predictions:
            values = prediction if isinstance(prediction, Mapping) else None
            path, error = (values.get(n) if values else getattr(prediction, n, None) for n in ("path", "error"))
            self.done += 1
            self.failed += bool(error)
            if error and (hint := hint_about(str(path))):
                self.hints[hint] = str(path)
            yield prediction

    def at_least_one(self, predictions: Iterator[Any]) -> Iterator[Any]:
        """The same. The first is awaited at once: what can't begin is noticed before a file is opened.

        Raises:
            UsageError: when there is none.
        """
        first = next(predictions, None)
        if first is None:
            message = f"no images in {', '.join(self.images)}"
            raise UsageError(message, hint="give image files, or folders that hold some")
        return chain([first], predictions)

    def input_files(self, images: Iterable[Any]) -> Iterator[str]:
        """The files that are read: the model's and the images."""
        from foveal.data.images.idx import file_of
        from foveal.models.shipped import bundle_folder

        folder = bundle_folder(Path(self.run))
        yield from (str(folder / name) for name in ("bundle.json", "weights.safetensors"))
        yield from (file_of(image) for image in images if isinstance(image, str))

    @contextmanager
    def write_errors(self) -> Iterator[None]:
        """Report a target that can no longer be written, such as on a full disk, as a usage error."""
        try:
            yield
        except OSError as error:
            if self.out is None:
                raise
            hint = "free some space, or give another place with --out"
            raise UsageError(f"{self.out} can't be written: {error}", hint=hint) from None


def _predict(call: _Call, *, topk: int, name: str | None, precision: str | None) -> None:
    """Predictions in one of the output formats."""
    from foveal.inference.outputs.formats import check_output, choose_format, wrote
    from foveal.inference.outputs.output_format import OutputOptions
    from foveal.inference.predictor import load_predictor

    predictor = load_predictor(call.run, precision=precision, memory=call.memory)
    manifest, out, json = predictor.bundle.manifest, call.out, call.json
    output = choose_format(manifest.task, name=name, out=out, json=json)
    earlier = out if out is not None and out.is_file() and wrote(out) else None
    if out is not None:
        skipped: list[str] = []  # they are not read, and kept all the same
        named = find_named(call.images, besides=earlier, on_skipped=skipped.append)
        files = chain(call.input_files(named), skipped)
        check_output(output, out, inputs=files, overwrite=call.overwrite)
    images = find_named(call.images, besides=earlier, on_skipped=call.skipped.append)
    inputs = list(images) if output.folder else []  # files of their own must not take the place of an input
    terminal = Terminal(quiet=call.quiet, bars=not (sys.stdout.isatty() and (out is None or output.folder)))
    stream, topk = data_stream(), min(topk, len(manifest.classes))
    options = OutputOptions(
        topk=topk,
        label_map=manifest.label_map,
        inputs=paths_among(inputs),
        on_file=(lambda _: None) if json else lambda file: print(file, file=stream, flush=True),
        on_error=lambda path, reason: say(f"{path}: {reason}"),
        on_record=put_json if json else (lambda _: None),
        on_partial=lambda file: say(f"the predictions so far are in {file}"),
        overwrite=call.overwrite,
    )
    with terminal.stage("predict", len(inputs)) as bar, call.write_errors():
        predictions = counted(call.counted(predictor.stream(inputs or images, topk=topk)), bar)
        count = output.write(call.at_least_one(predictions), stream if out is None else out, options)
    if out is not None:
        terminal.say(f"{count_of(count, 'prediction')} in {out}{output.note}")


def _map(call: _Call, window: int | None) -> None:
    """A dense map of each image."""
    from foveal.errors import UnreadableImage
    from foveal.inference.dense_map import DenseMapPredictor
    from foveal.inference.outputs.map_files import write_maps
    from foveal.inference.outputs.names import Names
    from foveal.output_files import check_folder

    out = call.out
    if out is None:
        raise UsageError("a map is written as a set of files", hint="say where: --map --out DIR")
    check_folder(out)
    inputs = list(find_named(call.images, on_skipped=call.skipped.append))
    names = Names(out, paths_among(inputs), overwrite=call.overwrite)
    predictor = DenseMapPredictor.load(call.run, window=window, memory=call.memory)

    def records() -> Iterator[dict[str, Any]]:
        for image in inputs:
            try:
                yield write_maps(predictor(image), out, names)
            except UnreadableImage as refusal:
                say(f"{refusal.path}: {refusal.detail}")
                yield {"path": refusal.path, "error": f"{refusal.code}: {refusal.detail}"}

    terminal = Terminal(quiet=call.quiet)
    with terminal.stage("map", len(inputs)) as bar, call.write_errors():
        made = list(call.at_least_one(counted(call.counted(records()), bar)))
    written = [record for record in made if "error" not in record]
    network = predictor.network
    if call.json:
        about = {"padded": network.padded, "mixing": network.mixing, "remarks": network.remarks}
        refused = [record for record in made if "error" in record]
        put_json({"schema": 1, "maps": written, "refused": refused, "network": about})
        return
    for record in written:
        _, h, w = record["shape"]
        put(f"{record['overlay']}  {h} × {w} predictions in {record['seconds']:.1f} s, {record['array']}")
    if network.mixing:
        layers = count_of(len(network.mixing), "layer sees", "layers see")
        terminal.say(
            f"note: {layers} the whole image ({network.mixing[0]} …): each prediction depends on all of it"
        )
    if written and written[0]["agreement"]:
        agreement = written[0]["agreement"]
        terminal.say(
            f"checked at {agreement['places']} places against the network on that window alone: same class in "
            f"{100 * agreement['same']:.0f} %, probabilities {agreement['mean']:.3f} apart, "
            f"at most {agreement['largest']:.3f}"
        )
