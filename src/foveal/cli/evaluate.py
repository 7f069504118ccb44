"""`foveal evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

from foveal.cli.console import Terminal, put, put_json
from foveal.cli.named_run import run_named
from foveal.cli.options import Device, Quiet
from foveal.config import TrainConfig
from foveal.errors import UsageError


def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="Other labelled images; by default the run's own test subset."),
    ] = None,
    include_seen: Annotated[
        bool,
        typer.Option(
            "--include-seen",
            help="With DATA: also count images that the model was trained on, and their near-duplicates.",
        ),
    ] = False,
    quiet: Quiet = False,
    device: Device = TrainConfig.device,
    json: Annotated[bool, typer.Option("--json", help="Print all figures as one JSON object.")] = False,
) -> None:
    """Evaluate a finished model on its test subset, or on other labelled images that it was not trained on."""
    from foveal.evaluation.unseen import counts_in_words
    from foveal.inference.bundle import load_bundle
    from foveal.tasks import find_task

    if include_seen and data is None:
        raise UsageError("--include-seen without DATA", hint="the run's own test subset holds nothing it has seen")
    terminal = Terminal(quiet=quiet)
    path = run_named(run, terminal)
    task = find_task(load_bundle(path).manifest.task)
    result = task.evaluate(path, data, include_seen=include_seen, progress=terminal)
    if json:
        put_json(result)
        return
    for line in task.lines(result["test"]):
        put(line)
    for finding in result.get("findings", ()):
        terminal.say(f"{finding['severity']}: {finding['message']} (hint: {finding['hint']})")
    terminal.say(counts_in_words(result["test"]["n"], result["left_out_counts"], result["images"]))
    terminal.say(f"evaluation {result['test_looks']} on this test set")
