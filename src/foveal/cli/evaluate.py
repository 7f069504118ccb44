"""`foveal evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from foveal.cli.console import Terminal, put, put_json, say


def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="Other labelled pictures; by default the run's own test side."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all figures as one JSON object.")] = False,
) -> None:
    """Measure a finished model on its test side, or on other labelled pictures."""
    from foveal.measure.report import percent
    from foveal.ship.evaluate import evaluate as measure

    result = measure(run, data, progress=Terminal())
    if json:
        put_json(result)
        return
    test = result["test"]
    put(f"accuracy           {_with_interval(test, 'accuracy')}, n = {test['n']}")
    put(f"balanced accuracy  {percent(test['balanced_accuracy'])}")
    put(f"macro F1           {_with_interval(test, 'macro_f1')}")
    put(f"log-loss           {test['log_loss']:.3f}")
    put(f"calibration error  {percent(test['ece'])}")
    for row in test["per_class"]:
        recall, precision = percent(row["recall"]), percent(row["precision"])
        put(f"  {row['label']:<20} recall {recall:>8}  precision {precision:>8}  n = {row['n']}")
    say(f"look {result['test_looks']} at this test set; {len(result['left_out'])} files left out")


def _with_interval(test: Mapping[str, Any], name: str) -> str:
    from foveal.measure.report import interval, percent

    return f"{percent(test[name])}  (95 % interval {interval(test[f'{name}_ci95'])})"
