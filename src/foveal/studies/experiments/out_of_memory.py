"""What helps when training does not fit into memory: each remedy's measured peak, time and accuracy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from foveal.studies.framework import (
    Arm,
    Check,
    Contrast,
    Measure,
    NotebookClaim,
    Plot,
    Point,
    Results,
    Series,
    Setting,
    Study,
    difference,
    format_number,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foveal.studies.experiments.support.digits import DigitSet
    from foveal.values import Preprocess

_LAYER = "-conv16-bn-relu"
_END = "-conv32-bn-relu-gap-dense10"
SKETCH = "conv16s2-bn-relu" + 6 * _LAYER + "-pool2" + _END
STRIDED = "conv16s4-bn-relu" + 6 * _LAYER + _END
SHALLOW = "conv16s2-bn-relu" + 2 * _LAYER + "-pool2" + _END
BATCH, MICRO, STEPS, IMAGES, TESTED = 64, 16, 170, 10_000, 4_000
LR = {"adamw": 5e-3, "adamw-in-backward": 5e-3, "sgd": 0.1}
#: Stored copies, and the largest shift in pixels, of the augmented arms.
COPIES, REACH = 4, 2
#: Largest relative difference between planned and measured memory.
_WITHIN = 0.03


@dataclass(frozen=True)
class Remedy:
    """How an arm trains.

    Attributes:
        description: how it differs from the other arms.
        change: arguments of `Scenario`.
        sketch: the network.
        size: height and width that the images are resized to, pixels; None keeps theirs.
        copies: number of copies of the images that are stored, all but one shifted.
        on_the_fly: images are shifted at each step instead.
    """

    description: str
    change: Mapping[str, Any] = field(default_factory=dict)
    sketch: str = SKETCH
    size: int | None = None
    copies: int = 1
    on_the_fly: bool = False


BASE = "baseline"
REMEDIES: Mapping[str, Remedy] = {
    BASE: Remedy(f"{BATCH} images per step, AdamW, fp32"),
    "smaller batch": Remedy(f"{MICRO} images per step, as many images in total", {"batch": MICRO}),
    "accumulate": Remedy(
        f"{BATCH // MICRO} micro-batches of {MICRO} before each step",
        {"batch": MICRO, "accumulate": BATCH // MICRO},
    ),
    "checkpoint": Remedy("activations are recomputed in the backward pass", {"checkpoint": "blocks"}),
    "half precision": Remedy("bf16 autocast", {"precision": "bf16"}),
    "step in backward": Remedy(
        "each parameter is updated as soon as its gradient is available", {"optimizer": "adamw-in-backward"}
    ),
    "lean optimizer": Remedy("SGD with momentum instead of AdamW", {"optimizer": "sgd"}),
    "smaller images": Remedy("20 × 20 pixels instead of 28 × 28", size=20),
    "larger stride": Remedy("a first stride of 4, instead of 2 and pooling", sketch=STRIDED),
    "fewer layers": Remedy("four convolutions instead of eight", sketch=SHALLOW),
    "augmented, stored": Remedy(f"{COPIES} shifted copies of all images are stored", copies=COPIES),
    "augmented on the fly": Remedy("images are shifted when they are used", on_the_fly=True),
}


def run(arm: str, seed: int, setting: Setting) -> Mapping[str, float]:
    """Train with a remedy; the measured and the planned peak of a step, its time, and the accuracy."""
    import torch

    from foveal.models.resolve import resolve
    from foveal.studies.experiments.support.digits import preprocess_for, test_subset, training_subset
    from foveal.studies.experiments.support.profiling import in_chunks, step_peak

    remedy = REMEDIES[arm]
    scenario = scenario_of(remedy, setting)
    train = training_subset(setting, IMAGES, 0)
    preprocess = preprocess_for(train)
    stored = _resized(_normalised(train, preprocess), remedy.size)
    if remedy.copies > 1:
        stored = torch.cat([stored, *(shifted(stored, seed, copy) for copy in range(1, remedy.copies))])
    targets = torch.from_numpy(train.labels).repeat(remedy.copies)
    torch.manual_seed(seed)
    network = resolve(remedy.sketch).build(scenario.input)
    seconds = _train(network, stored, targets, remedy, setting, seed)
    test = test_subset(setting).draw(TESTED, 0)
    inputs = _resized(_normalised(test, preprocess), remedy.size)
    with torch.no_grad():
        predictions = torch.cat([network.eval()(part).argmax(1) for part in in_chunks(inputs, 500)]).numpy()
    count = scenario.batch * scenario.accumulate
    untrained = resolve(remedy.sketch).build(scenario.input)
    batch, batch_targets = _contiguous_copies(stored[:count], targets[:count])
    return {
        "peak": float(step_peak(untrained, batch, batch_targets, scenario)),
        "planned": float(_planned(remedy.sketch, scenario)),
        "host": float(stored.numel()),
        "seconds": 1000 * seconds,
        "accuracy": float((predictions == test.labels).mean()),
    }


def _contiguous_copies(*tensors: Tensor) -> list[Tensor]:
    """Copies with default strides."""
    return [t.new_empty(t.shape).copy_(t) for t in tensors]


def scenario_of(remedy: Remedy, setting: Setting) -> Any:  # noqa: ANN401
    """The planner's scenario of a training with this remedy."""
    from foveal.planner.scenario import Scenario
    from foveal.studies.experiments.support.digits import subsets

    channels, height, width = subsets(setting.data)[0].pixels.shape[1:]
    given = {"batch": BATCH, "optimizer": "adamw", **remedy.change}
    return Scenario(input=(channels, remedy.size or height, remedy.size or width), **given)


def _train(
    network: nn.Module, images: Tensor, targets: Tensor, remedy: Remedy, setting: Setting, seed: int
) -> float:
    """Train in place; returns seconds per image."""
    import numpy as np

    from foveal.planner.steps import make_optimizer, prepared, train_step

    scenario = scenario_of(remedy, setting)
    network = prepared(network.train(), scenario)
    optimizer = make_optimizer(scenario.optimizer, network.parameters())
    optimizers = list(getattr(optimizer, "_one", {None: optimizer}).values())
    count = scenario.batch * scenario.accumulate
    total = setting.scaled(STEPS, 2) * BATCH
    order = np.random.default_rng(seed).permutation(max(total, len(images))) % len(images)
    begin = time.perf_counter()
    for number, start in enumerate(range(0, total, count)):
        chosen = order[start : start + count]
        for one in optimizers:  # linear decay to zero: the accuracy then varies less between seeds
            one.param_groups[0]["lr"] = LR[scenario.optimizer] * (1 - start / total)
        batch = shifted(images[chosen], seed, number) if remedy.on_the_fly else images[chosen]
        train_step(network, optimizer, batch, targets[chosen], scenario)
    return (time.perf_counter() - begin) / total


def _planned(sketch: str, scenario: Any) -> int:  # noqa: ANN401
    import torch

    from foveal.models.resolve import resolve
    from foveal.planner.backends import backend_for
    from foveal.planner.passes import replay_training

    network = resolve(sketch).build(scenario.input)
    backend = backend_for("cpu", torch.get_num_threads())
    return int(replay_training(network, scenario, backend).play(scenario.batch).peak)


def _normalised(digits: DigitSet, preprocess: Preprocess) -> Tensor:
    """Normalised images `(N, C, H, W)`.

    With one channel the strides fit two memory formats, and a convolution chooses its algorithm by them. So the
    tensor is a new one, with the default strides.
    """
    import torch

    from foveal.models.normalisation import Normalisation

    return torch.empty(digits.pixels.shape).copy_(Normalisation(preprocess)(torch.from_numpy(digits.pixels)))


def _resized(images: Tensor, size: int | None) -> Tensor:
    from torch.nn.functional import interpolate

    return images if size is None else interpolate(images, size=(size, size), mode="area")


def shifted(images: Tensor, *seed: int) -> Tensor:
    """All images shifted alike by up to `REACH` pixels, cyclically: a digit's margin is empty."""
    import numpy as np

    down, right = (int(n) for n in np.random.default_rng(seed).integers(-REACH, REACH + 1, 2))
    return images.roll((down, right), (2, 3))


def sizes(setting: Setting) -> Mapping[str, Mapping[str, float]]:
    """Parameters and MACs for one image."""
    from foveal.planner import plan

    costs = {}
    for name, remedy in REMEDIES.items():
        planned = plan(remedy.sketch, input=scenario_of(remedy, setting).input, batch=1, remedies=False)
        costs[name] = {"parameters": float(planned.parameters), "macs": float(planned.macs)}
    return costs


def checks(results: Results) -> Sequence[Check]:
    """Whether the planner predicted every peak."""
    error = {arm: float(results.of(arm, "planned")[0] / results.of(arm, "peak")[0]) - 1 for arm in REMEDIES}
    worst = max(error, key=lambda arm: abs(error[arm]))
    statement = f"the planner predicts every peak to within {format_number(_WITHIN, 'percent', 0)}"
    evidence = f"largest error: {worst}, {format_number(error[worst], 'points')} %"
    return [Check("predicted", statement, all(abs(v) <= _WITHIN for v in error.values()), evidence, "finding")]


def plot(results: Results, analysis: Mapping[str, Any]) -> Plot:
    """Peak, time and accuracy of every remedy, side by side."""

    def panel(measure: str, label: str, unit: str) -> Plot:
        points = tuple(results.point(arm, arm, measure) for arm in REMEDIES)
        if measure == "peak":  # does not vary
            points = tuple(Point(p.x, p.mean, None, None, p.n) for p in points)
        return Plot("dots", "", label, "", (Series("", points),), unit=unit)

    base = float(results.of(BASE, "peak").mean())
    remaining = {
        arm: format_number(float(results.of(arm, "peak").mean()) / base, "percent", 0)
        for arm in ("accumulate", "checkpoint", "augmented on the fly")
    }
    title = "Peak of a step, compared with the baseline: " + ", ".join(
        f"{share} ({arm})" for arm, share in remaining.items()
    )
    return Plot(
        "dots", title, "", "", (),
        panels=(
            panel("peak", "peak of a step", "bytes"),
            panel("seconds", "time for 1,000 images", "s"),
            panel("accuracy", "test accuracy", "share"),
        ),
    )  # fmt: skip


def _lower(arm: str, min_effect: float, role: str) -> Contrast:
    statement = f"{arm}: the peak of a training step is lower"
    return Contrast(f"{arm}, peak", statement, difference(BASE, arm, "peak"), min_effect, role=role, ratio=True)


def _same(arm: str, role: str) -> Contrast:
    statement = f"{arm}: the accuracy is the same"
    return Contrast(f"{arm}, accuracy", statement, difference(arm, BASE, "accuracy"), 0.01, "same", role)


STUDY = Study(
    name="out-of-memory",
    question="What helps when training runs out of memory?",
    claim="Accumulating gradients and checkpointing reduce a training step’s peak by a fifth and cost no accuracy",
    arms=tuple(Arm(name, remedy.description) for name, remedy in REMEDIES.items()),
    measures=(
        Measure("peak", "measured peak of a step", "bytes"),
        Measure("planned", "planned peak", "bytes"),
        Measure("host", "images stored in host memory, uint8", "bytes"),
        Measure("seconds", "time for 1,000 images", "s"),
        Measure("accuracy", f"accuracy on {TESTED:,} test images"),
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
            for arm in ("smaller batch", "smaller images", "fewer layers", "half precision")
        ),
        _lower("augmented on the fly", 1.1, "notebook"),
        _lower("larger stride", 1.1, "finding"),
        _lower("step in backward", 1.1, "finding"),
        _lower("lean optimizer", 1.1, "finding"),
        Contrast(
            "host", "augmenting on the fly needs less host memory than storing augmented images",
            difference("augmented, stored", "augmented on the fly", "host"), 1.5, role="finding", ratio=True,
        ),
        *(_same(a, "finding") for a in ("half precision", "smaller images", "larger stride", "fewer layers")),
    ),
    sizes=sizes,
    checks=checks,
    run=run,
    plot=plot,
    notebook_claims=(
        NotebookClaim("A smaller batch needs less memory.", ("smaller batch, peak",)),
        NotebookClaim("Smaller images need less memory.", ("smaller images, peak",)),
        NotebookClaim("Fewer layers need less memory.", ("fewer layers, peak",)),
        NotebookClaim("16-bit floats need less memory.", ("half precision, peak",)),
        NotebookClaim("Augmenting on the fly saves memory in training.", ("augmented on the fly, peak",)),
    ),
    seconds=42.0,
    min_seeds=5,
    data="sample:mnist",
    method=(
        f"One network (eight 3 × 3 convolutions with batch normalisation) is trained for {STEPS} steps of "
        f"{BATCH} images; arms with the same network share initial weights and order. The peak is what a step "
        "allocates on a CPU according to torch’s profiler, images, weights and optimizer included; workspaces "
        "differ on a GPU. With gradient accumulation, batch normalisation uses the statistics of the "
        "micro-batches. Feature maps are far larger than weights here, as in most small CNNs; where weights "
        "dominate, a lean optimizer and updates in the backward pass save memory that they do not save here. "
        "Learning rates were not tuned for each arm. Two devices, freezing and offloading were not run."
    ),
)  # fmt: skip
