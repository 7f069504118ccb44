"""Do convolutions help, or only the number of parameters? And why do they help?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from foveal.studies.framework import Arm, Contrast, Equal, Measure, Plot, Results, Setting, Study, difference

if TYPE_CHECKING:
    from torch import nn

#: Training images → training steps, batch size.
SIZES = {50: (80, 50), 500: (150, 64), 5000: (250, 64), 60000: (500, 128)}
#: The smallest advantage of interest at each size: what five seeds can detect, given the spread in the first lab
#: notebook (before it, 0.03 at 50 and 0.005 at 60,000).
MIN_EFFECT = {50: 0.10, 500: 0.02, 5000: 0.01, 60000: 0.006}
SHIFTS = range(1, 7)
#: Test images that are translated in each of the four directions.
SHIFTED = 1000
_STAGES = ((16,), (32,), (64,))


def network(arm: str, setting: Setting) -> nn.Module:
    """The network of an arm, with initial weights."""
    from foveal.models.small import SmallNet
    from foveal.studies.experiments.support.digits import image_shape
    from foveal.studies.experiments.support.layers import Permuted, dense

    channels, size, classes = image_shape(setting)
    cnn = SmallNet(channels=channels, classes=classes, stages=_STAGES, kernel=5, stride=2)
    plain = arm.removesuffix(", permuted")
    module: nn.Module = cnn
    if plain != "cnn":
        inputs = channels * size * size
        parameters, macs = _cost(setting)
        width = (parameters - classes) / (inputs + 2 + classes) if plain == "dense" else macs / (inputs + classes)
        module = dense(inputs, round(width), classes)
    return module if plain == arm else Permuted(module, size)


@lru_cache(maxsize=1)
def _cost(setting: Setting) -> tuple[float, float]:
    """Parameters and MACs of the CNN."""
    import torch

    from foveal.studies.experiments.support.digits import cost_of

    with torch.random.fork_rng():  # so that the next network's initial weights do not depend on this cache
        cost = cost_of(network("cnn", setting), setting)
    return cost["parameters"], cost["macs"]


def sizes(setting: Setting) -> dict[str, dict[str, float]]:
    """The cost of each arm."""
    from foveal.studies.experiments.support.digits import cost_of

    return {arm.name: cost_of(network(arm.name, setting), setting) for arm in ARMS}


def run(arm: str, seed: int, setting: Setting) -> dict[str, float]:
    """Train at each size; the network with the most training images is also evaluated on translated images."""
    import torch

    from foveal.studies.experiments.support.digits import (
        Training,
        accuracy,
        preprocess_for,
        test_subset,
        train,
        training_subset,
        translate,
    )

    test, measures = test_subset(setting), {}
    for count, (steps, batch) in SIZES.items():
        images = training_subset(setting, count, seed)
        torch.manual_seed(seed)
        module = network(arm, setting)
        train(module, images, Training(steps, batch=batch), setting, seed=seed)
        measures[f"accuracy at {count}"] = accuracy(module, test, preprocess_for(images))
    if "permuted" not in arm:
        subset = test.draw(setting.scaled(SHIFTED, 50), 1)
        for k in SHIFTS:
            directions = ((k, 0), (-k, 0), (0, k), (0, -k))
            accuracies = [accuracy(module, translate(subset, *d), preprocess_for(images)) for d in directions]
            measures[f"shifted by {k}"] = sum(accuracies) / len(accuracies)
    return measures


def plot(results: Results, analysis: Mapping[str, Any]) -> Plot:
    """Accuracy over the number of training images."""
    places: dict[float, str] = {float(n): f"accuracy at {n}" for n in SIZES}
    return Plot(
        "lines",
        "Accuracy by number of training images, at equal parameters",
        "training images",
        "test accuracy",
        tuple(results.curve(arm.name, arm.name, places) for arm in ARMS),
        log_x=True,
    )


ARMS = (
    Arm("cnn", "three convolutions, global max pooling, a linear layer"),
    Arm("dense", "one hidden layer with as many parameters"),
    Arm("dense, equal MACs", "one hidden layer with as many multiplications, and many more parameters"),
    Arm("cnn, permuted", "the same CNN after a fixed permutation of the pixels"),
    Arm("dense, permuted", "the dense network after the same permutation"),
)
_AT_EACH_SIZE = tuple(
    Contrast(
        f"more accurate at {n}",
        f"with {n:,} training images the CNN is more accurate",
        difference("cnn", "dense", f"accuracy at {n}"),
        effect,
    )
    for n, effect in MIN_EFFECT.items()
)
STUDY = Study(
    name="cnn-vs-dense",
    question="Why convolutions, and not dense layers?",
    claim="At equal parameters a CNN is more accurate than a dense network at every number of training images, "
    "and on shifted images; with permuted pixels the advantage disappears: it comes from locality.",
    arms=ARMS,
    measures=(
        *(Measure(f"accuracy at {n}", f"test accuracy with {n:,} training images") for n in SIZES),
        *(
            Measure(f"shifted by {k}", f"accuracy on test images shifted by {k} px, mean of four directions")
            for k in SHIFTS
        ),
    ),
    run=run,
    plot=plot,
    contrasts=(
        *_AT_EACH_SIZE,
        Contrast(
            "more accurate when shifted",
            "on images shifted by 3 px the CNN is more accurate",
            difference("cnn", "dense", "shifted by 3"),
            0.05,
        ),
        Contrast(
            "no advantage when permuted",
            "with permuted pixels and 5,000 training images the CNN has no advantage",
            difference("cnn, permuted", "dense, permuted", "accuracy at 5000"),
            MIN_EFFECT[5000],
            kind="no more",
        ),
        Contrast(
            "dense ignores the permutation",
            "the permutation does not change the accuracy of the dense network",
            difference("dense", "dense, permuted", "accuracy at 5000"),
            MIN_EFFECT[5000],
            kind="same",
            role="finding",
        ),
        Contrast(
            "more accurate at equal MACs",
            "with 5,000 training images the CNN is more accurate than a dense network with as many "
            "multiplications",
            difference("cnn", "dense, equal MACs", "accuracy at 5000"),
            MIN_EFFECT[5000],
            role="finding",
        ),
    ),
    sizes=sizes,
    equal=(
        Equal("parameters", ("cnn", "dense", "cnn, permuted", "dense, permuted"), within=0.03),
        Equal("macs", ("cnn", "dense, equal MACs", "cnn, permuted")),
    ),
    seconds=42,
    data="sample:mnist",
    method="Both networks have the same normalisation, are trained by AdamW with the same learning rate, and see "
    "the same images in the same order; a seed draws images, order and initial weights. Images are drawn evenly "
    "from the classes, without augmentation. Intervals are over seeds, for one set of 10,000 test images.",
)
