"""Small networks with and without the innovation of each architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foveal.studies.framework import Arm, Contrast, Equal, Measure, Plot, Results, Setting, Study, difference
from foveal.studies.framework.analysis import forest_plot

BATCH = 64
#: Number of test images.
TESTED = 3000


@dataclass(frozen=True)
class Innovation:
    """One comparison.

    Attributes:
        name: of the innovation.
        having, without: names of the arms.
        min_effect: smallest gain of interest.
        by: the architecture that introduced it.
        images, steps, lr: of the training of both arms.
    """

    name: str
    having: str
    without: str
    min_effect: float
    by: str
    images: int = 3000
    steps: int = 120
    lr: float = 5e-3


#: The smallest gains of interest are what six seeds can detect, given the spread in the first lab notebook; before
#: it they were 0.01, and 0.02 and 0.05 for residuals at 32 and 56 layers.
INNOVATIONS = (
    Innovation("ReLU", "ReLU", "tanh", 0.06, "AlexNet", lr=3e-3),
    Innovation("dropout", "dropout", "no dropout", 0.025, "AlexNet", images=300, steps=150, lr=2e-3),
    Innovation("inception branches", "inception", "one branch", 0.10, "GoogLeNet"),
    Innovation("residuals at 20 layers", "residual-20", "plain-20", 0.06, "ResNet"),
    Innovation("residuals at 32 layers", "residual-32", "plain-32", 0.17, "ResNet"),
    Innovation("residuals at 56 layers", "residual-56", "plain-56", 0.11, "ResNet"),
    Innovation("squeeze-and-excitation", "squeezed-20", "residual-20", 0.012, "SENet"),
    Innovation("separable convolutions", "separable", "full", 0.05, "Xception"),
)


def sizes(setting: Setting) -> dict[str, dict[str, float]]:
    """The cost of each arm."""
    from foveal.studies.experiments.support.digits import cost_of, image_shape
    from foveal.studies.experiments.support.innovation_networks import NETWORKS

    channels, _, classes = image_shape(setting)
    return {arm.name: cost_of(NETWORKS[arm.name](channels, classes), setting) for arm in ARMS}


def run(arm: str, seed: int, setting: Setting) -> dict[str, float]:
    """Accuracy, and the time of a step."""
    import torch

    from foveal.studies.experiments.support.digits import (
        Training,
        accuracy,
        image_shape,
        preprocess_for,
        test_subset,
        train,
        training_subset,
    )
    from foveal.studies.experiments.support.innovation_networks import NETWORKS

    innovation = next(i for i in INNOVATIONS if arm in (i.having, i.without))
    images, test = training_subset(setting, innovation.images, seed), test_subset(setting)
    channels, _, classes = image_shape(setting)
    torch.manual_seed(seed)
    module = NETWORKS[arm](channels, classes)
    training = Training(innovation.steps, batch=BATCH, lr=innovation.lr)
    outcome = train(module, images, training, setting, seed=seed)
    subset = test.draw(setting.scaled(TESTED, 50), 1)
    return {
        "accuracy": accuracy(module, subset, preprocess_for(images)),
        "seconds per step": outcome.seconds / outcome.steps,
    }


def plot(results: Results, analysis: Mapping[str, Any]) -> Plot:
    """The gain in accuracy of each innovation."""
    return forest_plot("The gain in accuracy of each innovation", GAINS, analysis, x="accuracy with it − without")


_WORDS = {
    "tanh": "three convolutions with tanh, no normalisation",
    "ReLU": "the same with ReLU",
    "no dropout": "two convolutions, two dense layers of 128",
    "dropout": "the same, with dropout of 0.5 before each dense layer",
    "one branch": "a 3 × 3 convolution instead of each inception module, with as many multiplications",
    "inception": "two inception modules: 1 × 1, 3 × 3, 5 × 5 and pooling in parallel",
    "full": "three full 3 × 3 convolutions",
    "separable": "wider separable convolutions, with as many parameters",
    **{f"plain-{d}": f"{d} layers with weights, no shortcuts" for d in (20, 32, 56)},
    **{f"residual-{d}": f"{d} layers with weights, a shortcut around every two" for d in (20, 32, 56)},
    "squeezed-20": "residual-20 with squeeze-and-excitation in each block",
}
ARMS = tuple(Arm(name, words) for name, words in _WORDS.items())
GAINS = tuple(
    Contrast(i.name, f"{i.name} ({i.by})", difference(i.having, i.without, "accuracy"), i.min_effect)
    for i in INNOVATIONS
)
STUDY = Study(
    name="innovations",
    question="What did each architecture introduce, and what is it worth?",
    claim="Each of ReLU, dropout, inception branches, residuals (at 20, 32 and 56 layers), "
    "squeeze-and-excitation and separable convolutions makes a small network more accurate.",
    arms=ARMS,
    measures=(
        Measure("accuracy", f"accuracy on {TESTED:,} test images"),
        Measure("seconds per step", f"a training step with {BATCH} images", "s"),
    ),
    run=run,
    plot=plot,
    contrasts=(
        *GAINS,
        Contrast(
            "depth alone hurts",
            "without shortcuts, 56 layers are less accurate than 20 (the degradation problem of He et al.)",
            difference("plain-20", "plain-56", "accuracy"),
            0.05,
            role="finding",
        ),
        Contrast(
            "depth with shortcuts does not",
            "with shortcuts, 56 layers are no less accurate than 20 by more than a point",
            difference("residual-20", "residual-56", "accuracy"),
            0.01,
            kind="no more",
            role="finding",
        ),
    ),
    sizes=sizes,
    equal=(
        Equal("parameters", ("tanh", "ReLU")),
        Equal("parameters", ("no dropout", "dropout")),
        Equal("macs", ("one branch", "inception"), within=0.05),
        Equal("parameters", ("full", "separable"), within=0.05),
        *(Equal("macs", (f"plain-{d}", f"residual-{d}"), within=0.05) for d in (20, 32, 56)),
    ),
    seconds=41,
    min_seeds=4,
    data="sample:mnist",
    method="Blocks are those of the zoo, with small widths. Both arms of a comparison are trained on the same "
    "3,000 images for 120 steps with one learning rate (dropout: 300 images, 150 steps, where overfitting is "
    "possible). This measures a short training: effects that need many epochs or a million images are not seen.",
)
