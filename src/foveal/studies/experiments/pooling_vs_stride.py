"""How to downsample, by pooling or by a strided convolution? And is pooling invariant to shifts?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from foveal.studies.framework import (
    Arm,
    Contrast,
    Equal,
    Measure,
    NotebookClaim,
    Plot,
    Results,
    Series,
    Setting,
    Study,
    difference,
)

if TYPE_CHECKING:
    from torch import nn

IMAGES, STEPS, BATCH = 3000, 200, 64
WIDTHS = (12, 24, 48)
#: Number of test images that are shifted, and the shifts: pixels down and right.
SHIFTED, SHIFTS = 4000, ((0, 1), (1, 0), (1, 1), (2, 1), (1, 2), (3, 3))


def network(arm: str, channels: int, classes: int, *, wider: float = 1.0) -> nn.Module:
    """Three convolutions; the first two are followed by the arm's downsampling by 2."""
    from torch import nn

    from foveal.models.zoo.blocks import convolution_norm
    from foveal.studies.experiments.support.layers import BlurPool, tower

    widths = [round(w * wider) for w in WIDTHS]
    downsampling: dict[str, Callable[[int], nn.Module]] = {
        "max": lambda width: nn.MaxPool2d(2),
        "average": lambda width: nn.AvgPool2d(2),
        "overlapping": lambda width: nn.MaxPool2d(3, stride=2, padding=1),
        "blur": lambda width: nn.Sequential(nn.MaxPool2d(2, stride=1), BlurPool(width)),
    }
    downsample = downsampling.get(arm)

    def block(inputs: int, width: int) -> nn.Module:
        last = width == widths[-1]
        convolution = convolution_norm(inputs, width, 3, stride=1 if downsample or last else 2)
        return nn.Sequential(convolution, downsample(width)) if downsample and not last else convolution

    return tower(channels, widths, classes, block)


def _network(arm: str, setting: Setting) -> nn.Module:
    from foveal.studies.experiments.support.digits import image_shape

    channels, _, classes = image_shape(setting)
    wide = arm == "strided, wider"
    return network("strided" if wide else arm, channels, classes, wider=_wider(setting) if wide else 1.0)


@lru_cache(maxsize=1)
def _wider(setting: Setting) -> float:
    """The factor by which a strided network must be wider to have as many MACs as a pooled one."""
    import torch

    from foveal.studies.experiments.support.digits import cost_of, image_shape

    channels, _, classes = image_shape(setting)
    wanted = cost_of(network("max", channels, classes), setting)["macs"]

    def difference_to_wanted(wider: float) -> float:
        return abs(cost_of(network("strided", channels, classes, wider=wider), setting)["macs"] - wanted)

    finest = WIDTHS[-1]
    with torch.random.fork_rng():  # so that the next network's initial weights do not depend on this cache
        return min((width / finest for width in range(finest, 2 * finest)), key=difference_to_wanted)


def sizes(setting: Setting) -> dict[str, dict[str, float]]:
    """The cost of each arm."""
    from foveal.studies.experiments.support.digits import cost_of

    return {arm.name: cost_of(_network(arm.name, setting), setting) for arm in ARMS}


def run(arm: str, seed: int, setting: Setting) -> dict[str, float]:
    """Accuracy, and how often a small shift of the image changes the prediction."""
    import torch

    from foveal.studies.experiments.support.digits import (
        Training,
        accuracy,
        predict,
        preprocess_for,
        test_subset,
        train,
        training_subset,
        translate,
    )

    images, test = training_subset(setting, IMAGES, seed), test_subset(setting)
    torch.manual_seed(seed)
    module = _network(arm, setting)
    outcome = train(module, images, Training(STEPS, batch=BATCH), setting, seed=seed)
    subset, preprocess = test.draw(setting.scaled(SHIFTED, 50), 1), preprocess_for(images)
    unshifted = predict(module, subset, preprocess)
    changed = [float((predict(module, translate(subset, *by), preprocess) != unshifted).mean()) for by in SHIFTS]
    return {
        "accuracy": accuracy(module, test, preprocess),
        "changed": sum(changed) / len(changed),
        "seconds per step": outcome.seconds / outcome.steps,
    }


def plot(results: Results, analysis: Mapping[str, Any]) -> Plot:
    """The share of predictions that small shifts change, by arm."""
    points = tuple(results.point(arm.name, arm.name, "changed") for arm in ARMS)
    marks = ((_INVARIANT, "would count as invariant"),)
    title = "Predictions changed by a shift of 1 to 3 pixels"
    return Plot("dots", title, "predictions changed", "", (Series("", points),), marks=marks)


_INVARIANT = 0.01
ARMS = (
    Arm("max", "the maximum of 2 × 2 positions"),
    Arm("average", "the mean of 2 × 2 positions"),
    Arm("overlapping", "the maximum of 3 × 3 positions with stride 2, as in AlexNet"),
    Arm("blur", "the maximum of 2 × 2 with stride 1, blurred before subsampling by 2 (Zhang 2019)"),
    Arm("strided", "no pooling: the convolution itself has stride 2; as many parameters"),
    Arm("strided, wider", "the same with wider layers: as many multiplications"),
)
#: What five seeds can detect, given the spread in the first lab notebook; 0.005 before it.
_MIN_EFFECT = 0.01
STUDY = Study(
    name="pooling-vs-stride",
    question="Max pooling, or a strided convolution?",
    claim="Max pooling is more accurate than a strided convolution with as many parameters, and than one with as "
    "many multiplications.",
    arms=ARMS,
    measures=(
        Measure("accuracy", f"test accuracy with {IMAGES:,} training images"),
        Measure("changed", "predictions changed by a shift of 1 to 3 px"),
        Measure("seconds per step", f"a training step with {BATCH} images", "s"),
    ),
    run=run,
    plot=plot,
    contrasts=(
        Contrast(
            "at equal parameters",
            "max pooling is more accurate than striding with as many parameters",
            difference("max", "strided", "accuracy"),
            _MIN_EFFECT,
        ),
        Contrast(
            "at equal MACs",
            "max pooling is more accurate than striding with as many multiplications",
            difference("max", "strided, wider", "accuracy"),
            _MIN_EFFECT,
        ),
        Contrast(
            "invariant",
            f"after max pooling a shift of 1 to 3 px changes at most {_INVARIANT:.0%} of the predictions",
            ((1.0, "max", "changed"),),
            _INVARIANT,
            kind="no more",
            role="notebook",
        ),
        Contrast(
            "steadier than striding",
            "max pooling changes fewer predictions under shifts than striding with as many multiplications",
            difference("strided, wider", "max", "changed"),
            0.005,
            role="finding",
        ),
        Contrast(
            "blur is steadier",
            "blur pooling changes fewer predictions under shifts than max pooling",
            difference("max", "blur", "changed"),
            0.005,
            role="finding",
        ),
        Contrast(
            "overlapping is more accurate",
            "overlapping pooling is more accurate than plain max pooling (AlexNet's claim)",
            difference("overlapping", "max", "accuracy"),
            _MIN_EFFECT,
            role="finding",
        ),
        Contrast(
            "max is more accurate than average",
            "max pooling is more accurate than average pooling",
            difference("max", "average", "accuracy"),
            _MIN_EFFECT,
            role="finding",
        ),
        Contrast(
            "striding is faster",
            "striding takes less time per training step than max pooling, at equal parameters",
            difference("max", "strided", "seconds per step"),
            1.1,
            role="finding",
            ratio=True,
            unit="times",
        ),
    ),
    sizes=sizes,
    equal=(
        Equal("parameters", ("max", "average", "overlapping", "blur", "strided")),
        Equal("macs", ("max", "average", "overlapping", "blur", "strided, wider"), within=0.05),
    ),
    notebook_claims=(NotebookClaim("Pooling gives translation invariance", ("invariant",)),),
    seconds=23,
    data="sample:mnist",
    method="Three 3 × 3 convolutions with batch normalisation, global average pooling, a linear layer; the first "
    "two are followed by the arm's downsampling. Shifts are by 1 to 3 whole pixels to the right, down or both, "
    "filled with black; a prediction counts as changed when the class differs, correct or not.",
)
