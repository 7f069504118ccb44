"""AlexNet's local response normalisation against no normalisation, and against batch normalisation."""

from __future__ import annotations

from collections.abc import Mapping
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

IMAGES, STEPS, BATCH, LR = 3000, 250, 64, 3e-3
WIDTHS = (16, 32, 48)
#: Contrasts of the test images, as a fraction of their own.
CONTRASTS = (0.5, 0.25, 0.15)
#: The smallest gain that five seeds can detect, given the spread in the first lab notebook. It was 0.005 before
#: (AlexNet's paper reports 1.2 to 2 points), which would have needed a thousand seeds, as training varies so much.
MIN_EFFECT = 0.10


def network(arm: str, channels: int, classes: int, scale: float) -> nn.Module:
    """Three convolutions with overlapping pooling, as AlexNet begins, with the arm's normalisation.

    Args:
        arm: `none`, `lrn` or `batch`.
        channels, classes: of the images, and of the outputs.
        scale: grey levels that the images were divided by. The paper's constants are for grey levels, whose
            activations are larger by this factor.
    """
    from torch import nn

    from foveal.models.zoo.blocks import LocalResponseNorm, convolution_norm, convolution_relu, overlapping_pool
    from foveal.studies.experiments.support.layers import tower

    def block(inputs: int, width: int) -> nn.Module:
        convolution = (convolution_norm if arm == "batch" else convolution_relu)(inputs, width, 3)
        last = width == WIDTHS[-1]
        normalisation = [LocalResponseNorm(alpha=1e-4 * scale**2)] if arm == "lrn" and not last else []
        return nn.Sequential(convolution, *normalisation, *([] if last else [overlapping_pool()]))

    return tower(channels, WIDTHS, classes, block)


def sizes(setting: Setting) -> dict[str, dict[str, float]]:
    """The cost of each arm."""
    from foveal.studies.experiments.support.digits import cost_of, image_shape

    channels, _, classes = image_shape(setting)
    return {arm.name: cost_of(network(arm.name, channels, classes, 1.0), setting) for arm in ARMS}


def run(arm: str, seed: int, setting: Setting) -> dict[str, float]:
    """Accuracy at full and reduced contrast, and the time of a step."""
    import torch

    from foveal.studies.experiments.support.digits import (
        Training,
        accuracy,
        image_shape,
        preprocess_for,
        reduce_contrast,
        test_subset,
        train,
        training_subset,
    )

    images, test = training_subset(setting, IMAGES, seed), test_subset(setting)
    preprocess = preprocess_for(images)
    channels, _, classes = image_shape(setting)
    torch.manual_seed(seed)
    module = network(arm, channels, classes, preprocess.std[0])
    outcome = train(module, images, Training(STEPS, batch=BATCH, lr=LR), setting, seed=seed)
    subset = test.draw(setting.scaled(4000, 50), 1)
    return {
        "accuracy": accuracy(module, test, preprocess),
        **{f"at contrast {c}": accuracy(module, reduce_contrast(subset, c), preprocess) for c in CONTRASTS},
        "seconds per step": outcome.seconds / outcome.steps,
    }


def plot(results: Results, analysis: Mapping[str, Any]) -> Plot:
    """Accuracy over the contrast of the test images."""
    places = {1.0: "accuracy", **{c: f"at contrast {c}" for c in CONTRASTS}}
    places = dict(sorted(places.items()))
    series: tuple[Series, ...] = tuple(results.curve(arm.name, arm.name, places) for arm in ARMS)
    title = "Accuracy when the test images lose contrast"
    return Plot("lines", title, "contrast of the test images", "test accuracy", series, log_x=True)


ARMS = (
    Arm("none", "no normalisation"),
    Arm("lrn", "local response normalisation after the first two ReLUs, with the constants of the paper"),
    Arm("batch", "batch normalisation in all three convolutions"),
)
STUDY = Study(
    name="lrn",
    question="What is AlexNet's local response normalisation worth?",
    claim="Local response normalisation makes a network more accurate.",
    arms=ARMS,
    measures=(
        Measure("accuracy", f"test accuracy with {IMAGES:,} training images"),
        *(Measure(f"at contrast {c}", f"accuracy on test images at {c:.0%} of their contrast") for c in CONTRASTS),
        Measure("seconds per step", f"a training step with {BATCH} images", "s"),
    ),
    run=run,
    plot=plot,
    contrasts=(
        Contrast(
            "more accurate than none",
            "with local response normalisation the network is more accurate than without",
            difference("lrn", "none", "accuracy"),
            MIN_EFFECT,
        ),
        Contrast(
            "batch is more accurate",
            "batch normalisation is more accurate than local response normalisation",
            difference("batch", "lrn", "accuracy"),
            MIN_EFFECT,
            role="finding",
        ),
        Contrast(
            "lrn at low contrast",
            "at a quarter of the contrast local response normalisation is more accurate than none",
            difference("lrn", "none", "at contrast 0.25"),
            0.02,
            role="finding",
        ),
        Contrast(
            "batch at low contrast",
            "at a quarter of the contrast batch normalisation is more accurate than local response normalisation",
            difference("batch", "lrn", "at contrast 0.25"),
            0.02,
            role="finding",
        ),
        Contrast(
            "lrn costs time",
            "local response normalisation takes more time a step than batch normalisation",
            difference("lrn", "batch", "seconds per step"),
            1.1,
            role="finding",
            ratio=True,
            unit="times",
        ),
    ),
    sizes=sizes,
    equal=(Equal("parameters", within=0.02), Equal("macs")),
    notebook_claims=(
        NotebookClaim("Local response normalisation helps a network to generalise", ("more accurate than none",)),
    ),
    seconds=20,
    data="sample:mnist",
    method="Three 3 × 3 convolutions with overlapping pooling after the first two, ReLU, global average pooling, "
    "a linear layer. The constants of the normalisation are the paper's, n = 5, alpha = 1e-4, beta = 0.75, k = 2, "
    "for images in grey levels; images here are divided by their standard deviation, so alpha is multiplied by "
    "its square. All arms are trained in the same way, with one learning rate.",
)
