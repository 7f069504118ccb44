"""What the notebook's network costs: parameters, shapes, memory; planned, measured, and by the notebook's sum."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from foveal.studies.frame import Arm, Check, Measure, Plot, Point, Said, Series, Setting, Study
from foveal.studies.plot.canvas import figure

if TYPE_CHECKING:
    from foveal.studies.analysis import Results

#: Three convolutions of 3 × 3 with stride 2 and "same" padding; channels in, filters.
MODEL = "conv100k3s2-conv200k3s2-conv400k3s2"
INPUT, BATCH = (3, 200, 300), 50
LAYERS = ((3, 100), (100, 200), (200, 400))
SHAPES = ((100, 100, 150), (200, 50, 75), (400, 25, 38))
#: What the notebook's addition gives.
NOTEBOOK_PARAMETERS = 9_007_200
_FLOAT = 4
#: How far a plan may be from what was measured, as a share.
_WITHIN = 0.02

ARMS = (
    Arm("one picture", "one prediction for one picture"),
    Arm("50 pictures", "one prediction for 50 pictures"),
    Arm("training step", "one step of SGD with momentum on 50 pictures"),
)


def run(arm: str, seed: int, setting: Setting) -> Mapping[str, float]:
    """Foreseen and measured bytes, and what they are made of."""
    import torch

    from foveal.planner import plan
    from foveal.planner.scenario import Scenario
    from foveal.studies.profiling import prediction_peak, step_peak

    torch.manual_seed(seed)
    count = 1 if arm == "one picture" else setting.scaled(BATCH, 2)
    network, foreseen = _foreseen(arm, count)
    pictures = torch.randn(count, *INPUT)
    if arm == "training step":
        scenario, targets = Scenario(input=INPUT, batch=count), torch.zeros(count, dtype=torch.long)
        measured = step_peak(network, pictures, targets, scenario)
    else:
        measured = prediction_peak(network, pictures)
    found = plan(MODEL, input=INPUT, batch=count, remedies=False)
    maps = [layer.activation_bytes for layer in found.layers]
    return {
        **foreseen,
        "measured": float(measured),
        "parameters": float(found.parameters),
        "maps": float(found.feature_map_bytes),
        "neighbours": float(max(a + b for a, b in itertools.pairwise(maps))),
        **{f"parameters {i}": float(layer.parameters) for i, layer in enumerate(found.layers, 1)},
        **{f"map {i}": float(_product(layer.output_shape)) for i, layer in enumerate(found.layers, 1)},
    }


def _foreseen(arm: str, count: int) -> tuple[Any, dict[str, float]]:
    """The network with random weights, and the planned peak of an arm with its bound and its workspace."""
    import torch

    from foveal.models.resolve import resolve
    from foveal.planner.backends import backend_for
    from foveal.planner.ghost import ghost_of
    from foveal.planner.passes import new_fake, record_prediction, replay_training
    from foveal.planner.replay import Replay
    from foveal.planner.scenario import Scenario

    network, scenario = resolve(MODEL).build(INPUT), Scenario(input=INPUT)
    backend = backend_for("cpu", torch.get_num_threads())
    if arm == "training step":
        played = replay_training(network, scenario, backend).play(count)
    else:
        fake = new_fake()
        recording = record_prediction(ghost_of(network, fake), fake, scenario, count).recording
        played = Replay(recording, None, backend).play(count)
    return network, {
        "planned": float(played.peak),
        "bound": float(played.most),
        "workspace": float(played.breakdown.get("workspace", 0)),
    }


def checks(results: Results) -> Sequence[Check]:
    """What the planner says is so, and what the notebook's sum says is not."""

    def of(arm: str, measure: str) -> float:
        return float(results.of(arm, measure)[0])

    one, fifty, step = (a.name for a in ARMS)
    by_hand = [(9 * channels + 1) * filters for channels, filters in LAYERS]
    counted = [of(one, f"parameters {i}") for i in (1, 2, 3)]
    maps = [of(one, f"map {i}") for i in (1, 2, 3)]
    total = of(one, "parameters")
    found = [
        Check(
            "parameters", "a layer has (3 × 3 × channels + 1) × filters parameters, and the network their sum",
            counted == by_hand and total == sum(by_hand),
            " + ".join(f"{c:,.0f}" for c in counted) + f" = {total:,.0f}",
        ),
        Check(
            "shapes", "the maps are 100 × 100 × 150, 200 × 50 × 75 and 400 × 25 × 38",
            maps == [_product(s) for s in SHAPES], " + ".join(f"{m:,.0f}" for m in maps) + " numbers a picture",
        ),
    ]  # fmt: skip
    for arm in (one, fifty, step):
        planned, measured, bound = of(arm, "planned"), of(arm, "measured"), of(arm, "bound")
        right = abs(planned - measured) <= _WITHIN * measured and measured <= bound
        told = (
            f"{planned:,.0f} planned, {measured:,.0f} measured ({figure(planned / measured - 1, 'points', 2)} %)"
        )
        words = f"{arm}: planned within {figure(_WITHIN, 'percent', 0)}, measured under the bound"
        found.append(Check(f"memory, {arm}", words, right, told))
    return found + _against_the_notebook(total, of(fifty, "maps"), of(step, "measured"), of(one, "neighbours"))


def _against_the_notebook(total: float, maps: float, step: float, neighbours: float) -> list[Check]:
    multiplied = _FLOAT * total * BATCH
    largest = _FLOAT * total + neighbours
    return [
        Check(
            "sum", f"the network has {NOTEBOOK_PARAMETERS:,} parameters", total == NOTEBOOK_PARAMETERS,
            f"{total:,.0f}: the notebook's figure is {NOTEBOOK_PARAMETERS / total:.2f} times that", "notebook",
        ),
        Check(
            "times the batch", f"a batch of {BATCH} needs the parameters' memory {BATCH} times",
            abs(multiplied - step) <= 0.1 * step,
            f"{multiplied:,.0f} bytes by that rule; there is one set of parameters ({_FLOAT * total:,.0f}), the "
            f"maps of {BATCH} pictures are {maps:,.0f}, and a training step needs {step:,.0f}", "notebook",
        ),
        Check(
            "two neighbours",
            "one prediction needs parameters and the two largest neighbouring maps, 12,613,600 bytes, beside "
            "picture and workspace", largest == 12_613_600, f"{largest:,.0f}", "finding",
        ),
    ]  # fmt: skip


def plot(results: Results, found: Mapping[str, Any]) -> Plot:
    """Planned beside measured, and the notebook's rule under them."""
    by_rule = _FLOAT * float(results.of(ARMS[0].name, "parameters")[0]) * BATCH
    rule = Point(f"the notebook’s rule: parameters × {BATCH}", by_rule, None, None, 1)

    def bars(measure: str, bound: bool) -> tuple[Point, ...]:
        return tuple(
            Point(
                a.name if a.name != "training step" else f"training step, {BATCH} pictures",
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
        f"Planned and measured memory differ by {figure(worst, 'percent')} at most; parameters × batch is wrong",
        "bytes that the allocator holds at its highest point",
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
    for side in shape:
        total *= side
    return total


STUDY = Study(
    name="cost",
    question="What do the parameters, the maps and the memory of a small CNN come to?",
    claim=f"The planner foresees parameters, shapes and memory to within {figure(_WITHIN, 'percent', 0)}",
    arms=ARMS,
    measures=(
        Measure("planned", "planned peak", "bytes"),
        Measure("measured", "measured peak", "bytes"),
        Measure("bound", "planned bound", "bytes"),
        Measure("workspace", "of the planned peak, inside of convolutions", "bytes"),
        Measure("maps", "feature maps of all pictures", "bytes"),
        Measure("parameters", "parameters", "count"),
    ),
    run=run,
    plot=plot,
    checks=checks,
    said=(
        Said(f"The three layers have {NOTEBOOK_PARAMETERS:,} parameters together.", ("sum",)),
        Said("A batch of 50 needs 50 times the memory of the parameters.", ("times the batch",)),
    ),
    seconds=11.0,
    fewest=1,
    method=(
        f"The network is {MODEL} on pictures of 3 × 200 × 300. The planner traces it on tensors without "
        "content. Measured is the running sum of the allocations and frees that torch’s profiler sees, and "
        "what was there before. Both count what the allocator hands out: the resident memory of a process is "
        "larger. Nothing here is random, so that one run suffices. Measured on a CPU; on a GPU the workspaces "
        "are others."
    ),
)
