"""`foveal compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from foveal.cli.console import Terminal, put, put_json
from foveal.cli.named_run import run_named
from foveal.cli.options import Quiet


def compare(
    a: Annotated[str, typer.Argument(metavar="RUN_A", help="A run folder, or latest.")],
    b: Annotated[str, typer.Argument(metavar="RUN_B", help="The run that is compared with it.")],
    quiet: Quiet = False,
    json: Annotated[bool, typer.Option("--json", help="Print all figures as one JSON object.")] = False,
) -> None:
    """Compare two finished runs, image by image, on the test images that they have in common.

    For as many of those as possible, train the second run with --split-from RUN_A. Neither the images nor the models
    are opened.
    """
    from foveal.data.wording import count_of
    from foveal.evaluation.compare_runs import compare_runs

    terminal = Terminal(quiet=quiet)
    result = compare_runs(run_named(a, terminal), run_named(b, terminal))
    if json:
        put_json(result)
        return
    for name in ("a", "b"):
        side = result[name]
        put(f"{name.upper()}  {side['accuracy']:7.2%}  {side['right']} of {result['n']} right  {side['run']}")
    accuracy, loss = result["accuracy"], result["log_loss"]
    only = f"only A right {accuracy['only_a_right']}, only B right {accuracy['only_b_right']}"
    put(f"{only}, McNemar's test p = {accuracy['mcnemar_p']:.3g}")
    low, high = loss["ci95"]
    put(f"log-loss of B minus that of A {loss['difference']:+.4f} (95 %: {low:+.4f} to {high:+.4f})")
    put(result["verdict"])
    if result["clusters"] < result["n"]:
        terminal.say(f"images that belong together count as one: {result['clusters']} of {result['n']}")
    if result["not_in_both"]:
        terminal.say(f"not counted: {count_of(result['not_in_both'], 'test image')} of only one of the runs")
    if result["other_labels"]:
        terminal.say(f"not counted: {count_of(result['other_labels'], 'image')} with different labels or classes")
