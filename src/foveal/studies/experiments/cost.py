"""The notebook's network: parameters, shapes and memory, as planned, as measured and by the notebook's rule."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from foveal.studies.framework import (
    Arm,
    Check,
    Measure,
    NotebookClaim,
    Plot,
    Point,
    Results,
    Series,
    Setting,
    Study,
    format_number,
)

#: Three convolutions of 3 × 3 with stride 2 and "same" padding; channels in, filters.
MODEL = "conv100k3s2-conv200k3s2-conv400k3s2"
INPUT, BATCH = (3, 200, 300), 50
LAYERS = ((3, 100), (100, 200), (200, 400))
SHAPES = ((100, 100, 150), (200, 50, 75), (400, 25, 38))
#: The total that the notebook gives.
NOTEBOOK_PARAMETERS = 9_007_200
#: Bytes of an fp32 number.
_FLOAT = 4
#: Largest relative difference between planned and measured memory.
_WITHIN = 0.02

ARMS = (
    Arm("one image", "one prediction for one image"),
    Arm("50 images", "one prediction for 50 images"),
    Arm("training step", "one step of SGD with momentum on 50 images"),
)


def run(arm: str, seed: int, setting: Setting) -> Mapping[str, float]:
    """Planned and measured bytes, and their parts."""
    import torch

    from foveal.planner import plan
    from foveal.planner.scenario import Scenario
    from foveal.studies.experiments.support.profiling import prediction_peak, step_peak

    torch.manual_seed(seed)
    count = 1 if arm == "one image" else setting.scaled(BATCH, 2)
    network, planned_peak = _planned_peak(arm, count)
    images = torch.randn(count, *INPUT)
    if arm == "training step":
        scenario, targets = Scenario(input=INPUT, batch=count), torch.zeros(count, dtype=torch.long)
        measured = step_peak(network, images, targets, scenario)
    else:
        measured = prediction_peak(network, images)
    planned = plan(MODEL, input=INPUT, batch=count, remedies=False)
    maps = [layer.activation_bytes for layer in planned.layers]
    return {
        **planned_peak,
        "measured": float(measured),
        "parameters": float(planned.parameters),
        "maps": float(planned.feature_map_bytes),
        "neighbours": float(max(a + b for a, b in itertools.pairwise(maps))),
        **{f"parameters {i}": float(layer.parameters) for i, layer in enumerate(planned.layers, 1)},
        **{f"map {i}": float(_product(layer.output_shape)) for i, layer in enumerate(planned.layers, 1)},
    }


def _planned_peak(arm: str, count: int) -> tuple[Any, dict[str, float]]:
    """The network with random weights, and the planned peak of an arm with its upper bound and workspace."""
    import torch

    from foveal.models.resolve import resolve
    from foveal.planner.backends import backend_for
    from foveal.planner.fake_network import to_fake_network
    from foveal.planner.passes import new_fake, record_prediction, replay_training
    from foveal.planner.replay import Replay
    from foveal.planner.scenario import Scenario

    network, scenario = resolve(MODEL).build(INPUT), Scenario(input=INPUT)
    backend = backend_for("cpu", torch.get_num_threads())
    if arm == "training step":
        replayed = replay_training(network, scenario, backend).play(count)
    else:
        fake = new_fake()
        recording = record_prediction(to_fake_network(network, fake), fake, scenario, count).recording
        replayed = Replay(recording, None, backend).play(count)
    return network, {
        "planned": float(replayed.peak),
        "bound": float(replayed.most),
        "workspace": float(replayed.breakdown.get("workspace", 0)),
    }


def checks(results: Results) -> Sequence[Check]:
    """The planner's numbers hold, and the notebook's rule does not."""

    def of(arm: str, measure: str) -> float:
        return float(results.of(arm, measure)[0])

    one, fifty, step = (a.name for a in ARMS)
    by_hand = [(9 * channels + 1) * filters for channels, filters in LAYERS]
    counted = [of(one, f"parameters {i}") for i in (1, 2, 3)]
    maps = [of(one, f"map {i}") for i in (1, 2, 3)]
    total = of(one, "parameters")
    statements = [
        Check(
            "parameters", "a layer has (3 × 3 × channels + 1) × filters parameters, and the network has their sum",
            counted == by_hand and total == sum(by_hand),
            " + ".join(f"{c:,.0f}" for c in counted) + f" = {total:,.0f}",
        ),
        Check(
            "shapes", "the maps are 100 × 100 × 150, 200 × 50 × 75 and 400 × 25 × 38",
            maps == [_product(s) for s in SHAPES], " + ".join(f"{m:,.0f}" for m in maps) + " values per image",
        ),
    ]  # fmt: skip
    for arm in (one, fifty, step):
        planned, measured, bound = of(arm, "planned"), of(arm, "measured"), of(arm, "bound")
        holds = abs(planned - measured) <= _WITHIN * measured and measured <= bound
        error = format_number(planned / measured - 1, "points", 2)
        evidence = f"{planned:,.0f} planned, {measured:,.0f} measured ({error} %)"
        statement = f"{arm}: planned within {format_number(_WITHIN, 'percent', 0)}, measured below the bound"
        statements.append(Check(f"memory, {arm}", statement, holds, evidence))
    return statements + notebook_checks(total, of(fifty, "maps"), of(step, "measured"), of(one, "neighbours"))


def notebook_checks(total: float, maps: float, step: float, neighbours: float) -> list[Check]:
    """The notebook's numbers against those of the network.

    Args:
        total: number of parameters.
        maps: bytes of all feature maps of a batch.
        step: peak bytes of a training step.
        neighbours: bytes of the two largest neighbouring maps of one image.
    """
    multiplied = _FLOAT * total * BATCH
    largest = _FLOAT * total + neighbours
    return [
        Check(
            "sum", f"the network has {NOTEBOOK_PARAMETERS:,} parameters", total == NOTEBOOK_PARAMETERS,
            f"{total:,.0f}: the notebook's number is {NOTEBOOK_PARAMETERS / total:.2f} times that", "notebook",
        ),
        Check(
            "times the batch", f"a batch of {BATCH} needs the parameters' memory {BATCH} times",
            abs(multiplied - step) <= 0.1 * step,
            f"{multiplied:,.0f} bytes by that rule; there is one set of parameters ({_FLOAT * total:,.0f}), the "
            f"maps of {BATCH} images take {maps:,.0f}, and a training step needs {step:,.0f}", "notebook",
        ),
        Check(
            "two neighbours",
            "one prediction needs parameters and the two largest neighbouring maps, 12,613,600 bytes, plus "
            "image and workspace", largest == 12_613_600, f"{largest:,.0f}", "finding",
        ),
    ]  # fmt: skip


def plot(results: Results, analysis: Mapping[str, Any]) -> Plot:
    """Planned and measured memory, and the notebook's rule."""
    by_rule = _FLOAT * float(results.of(ARMS[0].name, "parameters")[0]) * BATCH
    rule = Point(f"the notebook’s rule: parameters × {BATCH}", by_rule, None, None, 1)

    def bars(measure: str, bound: bool) -> tuple[Point, ...]:
        return tuple(
            Point(
                a.name if a.name != "training step" else f"training step, {BATCH} images",
                float(results.of(a.name, measure)[0]),
                None,
                float(results.of(a.name, "bound")[0]) if bound else None,
                1,
            )
            for a in ARMS
        )

    worst = max(abs(float(results.of(a.name, "planned")[0] / results.of(a.name, "measured")[0]) - 1) for a in ARMS)
    return Plot(
        "bars",
        f"Planned and measured memory differ by {format_number(worst, 'percent')} at most; parameters × batch is "
        "wrong",
        "peak bytes held by the allocator",
        "",
        (
            Series("planned", bars("planned", True)),
            Series("measured", bars("measured", False)),
            Series("", (rule,)),
        ),
        unit="bytes",
    )


def _product(shape: Sequence[int]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


STUDY = Study(
    name="cost",
    question="How many parameters and how much memory does a small CNN need?",
    claim=f"The planner predicts parameters, shapes and memory to within {format_number(_WITHIN, 'percent', 0)}",
    arms=ARMS,
    measures=(
        Measure("planned", "planned peak", "bytes"),
        Measure("measured", "measured peak", "bytes"),
        Measure("bound", "planned bound", "bytes"),
        Measure("workspace", "workspace of convolutions in the planned peak", "bytes"),
        Measure("maps", "feature maps of all images", "bytes"),
        Measure("parameters", "parameters", "count"),
    ),
    run=run,
    plot=plot,
    checks=checks,
    notebook_claims=(
        NotebookClaim(f"The three layers have {NOTEBOOK_PARAMETERS:,} parameters together.", ("sum",)),
        NotebookClaim("A batch of 50 needs 50 times the memory of the parameters.", ("times the batch",)),
    ),
    seconds=11.0,
    min_seeds=1,
    method=(
        f"The network is {MODEL} on images of 3 × 200 × 300. The planner traces it on tensors without data. "
        "The measurement is the running sum of the allocations and frees that torch’s profiler records, plus what "
        "was allocated before. Both count what the allocator hands out; the resident memory of a process is "
        "larger. Nothing here is random, so that one run suffices. Measured on a CPU; workspaces differ on a GPU."
    ),
)
