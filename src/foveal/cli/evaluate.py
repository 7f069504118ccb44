"""`foveal evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

from foveal.cli.console import Terminal, put, put_json
from foveal.cli.options import Device, Quiet
from foveal.config import TrainConfig


def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="Other labelled images; by default the run's own test subset."),
    ] = None,
    quiet: Quiet = False,
    device: Device = TrainConfig.device,
    json: Annotated[bool, typer.Option("--json", help="Print all figures as one JSON object.")] = False,
) -> None:
    """Evaluate a finished model on its test subset, or on other labelled images."""
    from foveal.inference.bundle import load_bundle
    from foveal.tasks import find_task

    terminal = Terminal(quiet=quiet)
    task = find_task(load_bundle(run).manifest.task)
    result = task.evaluate(run, data, progress=terminal)
    if json:
        put_json(result)
        return
    for line in task.lines(result["test"]):
        put(line)
    for finding in result.get("findings", ()):
        terminal.say(f"{finding['message']} (hint: {finding['hint']})")
    terminal.say(f"evaluation {result['test_looks']} on this test set; {len(result['left_out'])} files excluded")
