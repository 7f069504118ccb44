"""`foveal evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

from foveal.cli.console import Terminal, put, put_json, say


def evaluate(
    run: Annotated[str, typer.Argument(help="A run folder.")],
    data: Annotated[str | None, typer.Argument(help="Other labelled pictures; by default the run's own test side.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all figures as one JSON object.")] = False,
) -> None:
    """Measure a finished model on its test side, or on other labelled pictures."""
    from foveal.measure.report import interval, percent
    from foveal.ship.evaluate import evaluate as measure

    result = measure(run, data, progress=Terminal())
    if json:
        put_json(result)
        return
    test = result["test"]
    put(f"accuracy           {percent(test['accuracy'])}  (95 % interval {interval(test['accuracy_ci95'])}, n = {test['n']})")
    put(f"balanced accuracy  {percent(test['balanced_accuracy'])}")
    put(f"macro F1           {percent(test['macro_f1'])}  (95 % interval {interval(test['macro_f1_ci95'])})")
    put(f"log-loss           {test['log_loss']:.3f}")
    put(f"calibration error  {percent(test['ece'])}")
    for row in test["per_class"]:
        put(f"  {row['label']:<20} recall {percent(row['recall']):>8}  precision {percent(row['precision']):>8}  n = {row['n']}")
    say(f"look {result['test_looks']} at this test set; {len(result['left_out'])} files left out")
