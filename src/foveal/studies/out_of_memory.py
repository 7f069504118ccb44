"""What helps when training does not fit: each remedy's measured peak, time and accuracy, on one network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from foveal.studies.frame import (
    Arm,
    Check,
    Contrast,
    Measure,
    Plot,
    Point,
    Said,
    Series,
    Setting,
    Study,
    difference,
)
from foveal.studies.plot.canvas import figure

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foveal.studies.analysis import Results
    from foveal.studies.digits import Side
    from foveal.values import Preprocess

_LAYER = "-conv16-bn-relu"
_END = "-conv32-bn-relu-gap-dense10"
SKETCH = "conv16s2-bn-relu" + 6 * _LAYER + "-pool2" + _END
STRIDED = "conv16s4-bn-relu" + 6 * _LAYER + _END
SHALLOW = "conv16s2-bn-relu" + 2 * _LAYER + "-pool2" + _END
BATCH, MICRO, STEPS, PICTURES, TESTED = 64, 16, 170, 10_000, 4_000
RATE = {"adamw": 5e-3, "adamw-in-backward": 5e-3, "sgd": 0.1}
COPIES, REACH = 4, 2
#: How exact the planner promises to be at worst, as a share of what was measured.
_WITHIN = 0.03


@dataclass(frozen=True)
class _Way:
    """How an arm trains.

    Attributes:
        words: in what it differs.
        change: of `Scenario`.
        sketch: the network.
        side: of the pictures, pixels; None: as they are.
        copies: shifted copies of all pictures that are stored; `fly`: shifted anew at every step instead.
    """

    words: str
    change: Mapping[str, Any] = field(default_factory=dict)
    sketch: str = SKETCH
    side: int | None = None
    copies: int = 1
    fly: bool = False


BASE = "as it is"
WAYS: Mapping[str, _Way] = {
    BASE: _Way(f"{BATCH} pictures a step, AdamW, fp32"),
    "smaller batch": _Way(f"{MICRO} pictures a step, as many pictures in all", {"batch": MICRO}),
    "accumulate": _Way(
        f"{BATCH // MICRO} micro-batches of {MICRO} before each step",
        {"batch": MICRO, "accumulate": BATCH // MICRO},
    ),
    "checkpoint": _Way("activations are computed again in the backward pass", {"checkpoint": "blocks"}),
    "half precision": _Way("products in bf16 (autocast)", {"precision": "bf16"}),
    "step in backward": _Way(
        "each parameter steps as soon as it has its gradient", {"optimizer": "adamw-in-backward"}
    ),
    "lean optimizer": _Way("SGD with momentum instead of AdamW", {"optimizer": "sgd"}),
    "smaller pictures": _Way("20 × 20 pixels instead of 28 × 28", side=20),
    "larger stride": _Way("a stride of 4 at the beginning, in place of 2 and a pooling", sketch=STRIDED),
    "fewer layers": _Way("four convolutions instead of eight", sketch=SHALLOW),
    "augmented, stored": _Way(f"{COPIES} shifted copies of all pictures are kept", copies=COPIES),
    "augmented on the fly": _Way("pictures are shifted as they are needed", fly=True),
}


def run(arm: str, seed: int, setting: Setting) -> Mapping[str, float]:
    """Train by a way; the most that a step allocates, the planned one, its time, and what it learns."""
    import torch

    from foveal.models.resolve import resolve
    from foveal.studies.digits import scale_of, test_side, training_side
    from foveal.studies.profiling import in_pieces, step_peak

    way, scenario = WAYS[arm], _scenario(WAYS[arm], setting)
    train = training_side(setting, PICTURES, 0)
    scale = scale_of(train)
    stored = _resized(_ready(train, scale), way.side)
    if way.copies > 1:
        stored = torch.cat([stored, *(_shifted(stored, seed, copy) for copy in range(1, way.copies))])
    targets = torch.from_numpy(train.labels).repeat(way.copies)
    torch.manual_seed(seed)
    network = resolve(way.sketch).build(scenario.input)
    seconds = _trained(network, stored, targets, way, setting, seed)
    tested = test_side(setting).drawn(TESTED, 0)
    asked = _resized(_ready(tested, scale), way.side)
    with torch.no_grad():
        answers = torch.cat([network.eval()(part).argmax(1) for part in in_pieces(asked, 500)]).numpy()
    count = scenario.batch * scenario.accumulate
    fresh = resolve(way.sketch).build(scenario.input)
    batch, wanted = _copies(stored[:count], targets[:count])
    return {
        "peak": float(step_peak(fresh, batch, wanted, scenario)),
        "planned": float(_planned(way.sketch, scenario)),
        "host": float(stored.numel()),
        "seconds": 1000 * seconds,
        "accuracy": float((answers == tested.labels).mean()),
    }


def _copies(*tensors: Tensor) -> list[Tensor]:
    """Of their own, with plain strides."""
    return [t.new_empty(t.shape).copy_(t) for t in tensors]


def _scenario(way: _Way, setting: Setting) -> Any:  # noqa: ANN401
    from foveal.planner.scenario import Scenario
    from foveal.studies.digits import sides

    channels, height, width = sides(setting.data)[0].pixels.shape[1:]
    given = {"batch": BATCH, "optimizer": "adamw", **way.change}
    return Scenario(input=(channels, way.side or height, way.side or width), **given)


def _trained(
    network: nn.Module, pictures: Tensor, targets: Tensor, way: _Way, setting: Setting, seed: int
) -> float:
    """Train in place; seconds a picture."""
    import numpy as np

    from foveal.planner.steps import make_optimizer, prepared, train_step

    scenario = _scenario(way, setting)
    network = prepared(network.train(), scenario)
    optimizer = make_optimizer(scenario.optimizer, network.parameters())
    inner = list(getattr(optimizer, "_one", {None: optimizer}).values())
    count = scenario.batch * scenario.accumulate
    seen = setting.scaled(STEPS, 2) * BATCH
    order = np.random.default_rng(seed).permutation(max(seen, len(pictures))) % len(pictures)
    began = time.perf_counter()
    for number, start in enumerate(range(0, seen, count)):
        chosen = order[start : start + count]
        for one in inner:  # falling to nothing: what is learned then differs less from seed to seed
            one.param_groups[0]["lr"] = RATE[scenario.optimizer] * (1 - start / seen)
        batch = _shifted(pictures[chosen], seed, number) if way.fly else pictures[chosen]
        train_step(network, optimizer, batch, targets[chosen], scenario)
    return (time.perf_counter() - began) / seen


def _planned(sketch: str, scenario: Any) -> int:  # noqa: ANN401
    import torch

    from foveal.models.resolve import resolve
    from foveal.planner.backends import backend_for
    from foveal.planner.passes import replay_training

    network = resolve(sketch).build(scenario.input)
    backend = backend_for("cpu", torch.get_num_threads())
    return int(replay_training(network, scenario, backend).play(scenario.batch).peak)


def _ready(side: Side, scale: Preprocess) -> Tensor:
    """Pictures `(N, C, H, W)`, normalised. With one channel, strides tell two memory formats alike, and a
    convolution chooses by them: here they are those of a tensor made anew."""
    import torch

    pictures = torch.empty(side.pixels.shape)
    return pictures.copy_(torch.from_numpy(side.pixels)).sub_(scale.mean[0]).div_(scale.std[0])


def _resized(pictures: Tensor, side: int | None) -> Tensor:
    from torch.nn.functional import interpolate

    return pictures if side is None else interpolate(pictures, size=(side, side), mode="area")


def _shifted(pictures: Tensor, *seed: int) -> Tensor:
    """All pictures moved alike, by up to `REACH` pixels; a digit's margin is empty, so they may come around."""
    import numpy as np

    down, right = (int(n) for n in np.random.default_rng(seed).integers(-REACH, REACH + 1, 2))
    return pictures.roll((down, right), (2, 3))


def sizes(setting: Setting) -> Mapping[str, Mapping[str, float]]:
    """Parameters and MACs for one picture."""
    from foveal.planner import plan

    found = {}
    for name, way in WAYS.items():
        planned = plan(way.sketch, input=_scenario(way, setting).input, batch=1, remedies=False)
        found[name] = {"parameters": float(planned.parameters), "macs": float(planned.macs)}
    return found


def checks(results: Results) -> Sequence[Check]:
    """Whether the planner foresaw every peak."""
    off = {arm: float(results.of(arm, "planned")[0] / results.of(arm, "peak")[0]) - 1 for arm in WAYS}
    worst = max(off, key=lambda arm: abs(off[arm]))
    words = f"the planner foresees every peak to within {figure(_WITHIN, 'percent', 0)}"
    found = f"worst for {worst}: {figure(off[worst], 'points')} %"
    return [Check("foreseen", words, all(abs(v) <= _WITHIN for v in off.values()), found, "finding")]


def plot(results: Results, found: Mapping[str, Any]) -> Plot:
    """Peak, time and accuracy of every way, beside each other."""

    def panel(measure: str, label: str, unit: str) -> Plot:
        points = tuple(results.point(arm, arm, measure) for arm in WAYS)
        if measure == "peak":  # what does not vary needs no interval
            points = tuple(Point(p.x, p.mean, None, None, p.n) for p in points)
        return Plot("dots", "", label, "", (Series("", points),), unit=unit)

    base = float(results.of(BASE, "peak").mean())
    left = {
        arm: figure(float(results.of(arm, "peak").mean()) / base, "percent", 0)
        for arm in ("accumulate", "checkpoint", "augmented on the fly")
    }
    title = "Of a step’s peak remain: " + ", ".join(f"{share} ({arm})" for arm, share in left.items())
    return Plot(
        "dots", title, "", "", (),
        panels=(
            panel("peak", "peak of a step", "bytes"),
            panel("seconds", "s for 1,000 pictures", "s"),
            panel("accuracy", "test accuracy", "share"),
        ),
    )  # fmt: skip


def _lower(arm: str, least: float, role: str) -> Contrast:
    words = f"{arm}: the peak of a training step is lower"
    return Contrast(f"{arm}, peak", words, difference(BASE, arm, "peak"), least, role=role, ratio=True)


def _same(arm: str, role: str) -> Contrast:
    words = f"{arm}: the accuracy is the same"
    return Contrast(f"{arm}, accuracy", words, difference(arm, BASE, "accuracy"), 0.01, "same", role)


STUDY = Study(
    name="out-of-memory",
    question="What helps when training runs out of memory?",
    claim="Accumulating gradients and checkpointing lower a training step’s peak by a fifth and cost no accuracy",
    arms=tuple(Arm(name, way.words) for name, way in WAYS.items()),
    measures=(
        Measure("peak", "measured peak of a step", "bytes"),
        Measure("planned", "planned peak", "bytes"),
        Measure("host", "pictures kept in the host’s memory, 8 bits", "bytes"),
        Measure("seconds", "time for 1,000 pictures", "s"),
        Measure("accuracy", f"accuracy on {TESTED:,} test pictures"),
    ),
    contrasts=(
        _lower("accumulate", 1.25, "claim"),
        _lower("checkpoint", 1.25, "claim"),
        Contrast(
            "accumulate, accuracy", "accumulate: it costs no accuracy",
            difference(BASE, "accumulate", "accuracy"), 0.02, "no more",
        ),
        _same("checkpoint", "claim"),
        *(
            _lower(arm, 1.1, "notebook")
            for arm in ("smaller batch", "smaller pictures", "fewer layers", "half precision")
        ),
        _lower("augmented on the fly", 1.1, "notebook"),
        _lower("larger stride", 1.1, "finding"),
        _lower("step in backward", 1.1, "finding"),
        _lower("lean optimizer", 1.1, "finding"),
        Contrast(
            "host", "augmenting on the fly keeps less in the host’s memory than storing what was augmented",
            difference("augmented, stored", "augmented on the fly", "host"), 1.5, role="finding", ratio=True,
        ),
        *(_same(a, "finding") for a in ("half precision", "smaller pictures", "larger stride", "fewer layers")),
    ),
    sizes=sizes,
    checks=checks,
    run=run,
    plot=plot,
    said=(
        Said("A smaller batch needs less memory.", ("smaller batch, peak",)),
        Said("Smaller pictures need less memory.", ("smaller pictures, peak",)),
        Said("Fewer layers need less memory.", ("fewer layers, peak",)),
        Said("16-bit floats need less memory.", ("half precision, peak",)),
        Said("Augmenting on the fly saves the memory that training lacks.", ("augmented on the fly, peak",)),
    ),
    seconds=42.0,
    fewest=5,
    data="sample:mnist",
    method=(
        f"One network (eight convolutions of 3 × 3 with batch normalisation) learns for {STEPS} steps of "
        f"{BATCH} pictures; arms of the same network share first weights and order. The peak is what torch’s "
        "profiler sees a step allocate on a CPU, pictures, weights and optimizer included; on a GPU workspaces "
        "differ. Accumulating, batch normalisation sees the micro-batches. Here maps outweigh weights by far, "
        "as in most small CNNs: where weights rule, a lean optimizer and stepping in the backward pass save "
        "what they do not save here. Rates were not tuned for each arm. Two devices, freezing and offloading "
        "were not run."
    ),
)  # fmt: skip
