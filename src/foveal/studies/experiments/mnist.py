"""The contribution of each ingredient of the recipe for small images: the recipe, and the recipe without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from foveal.studies.framework import Arm, Contrast, Equal, Measure, Plot, Results, Setting, Study, difference
from foveal.studies.framework.analysis import forest_plot
from foveal.training.recipes.scratch import RECIPES, ScratchRecipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IMAGES, STEPS = 4000, 200
#: The recipe that is scaled down to this size, and the shifts that predictions are averaged over, pixels.
RECIPE, SHIFT = "scratch-minute", 1
#: Twenty-five of the 10,000 test images, and sixty for augmentation: what five seeds can detect, given the spread
#: in the first lab notebook; ten for all before it.
MIN_EFFECT, MIN_EFFECT_AUGMENTATION = 0.0025, 0.006


def run(arm: str, seed: int, setting: Setting) -> dict[str, float]:
    """Accuracy with predictions averaged over small shifts, and of a single view."""
    from foveal.studies.experiments.support.digits import test_subset

    name = FULL if arm == "two networks" else arm
    averaged, single = probabilities(name, seed, setting)
    if arm == "two networks":
        other = probabilities(name, seed + 10_000, setting)
        averaged, single = averaged + other[0], single + other[1]
    labels = test_subset(setting).labels
    return {
        "accuracy": float((averaged.argmax(axis=1) == labels).mean()),
        "accuracy, single view": float((single.argmax(axis=1) == labels).mean()),
    }


@lru_cache(maxsize=4)
def probabilities(arm: str, seed: int, setting: Setting) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities `(N, K)` of the test images, averaged over small shifts and of a single view.

    The training images are those of `seed % 10_000`: the members of an ensemble share them.
    """
    import torch

    from foveal.metrics.calibration import softmax
    from foveal.models.networks import build
    from foveal.models.small import Shifted
    from foveal.studies.experiments.support.digits import (
        image_shape,
        preprocess_for,
        test_subset,
        train,
        training_subset,
    )
    from foveal.training.batches.arrays import logits_of

    channels, _, classes = image_shape(setting)
    images, test = training_subset(setting, IMAGES, seed % 10_000), test_subset(setting)
    recipe = _recipe()
    torch.manual_seed(seed)
    module = build(recipe.network(channels, classes))
    train(module, images, _training(arm), setting, seed=seed)
    preprocess = preprocess_for(images)
    single = softmax(logits_of(module, test.pixels, preprocess, "cpu"))
    averaged = softmax(logits_of(Shifted(module, SHIFT).eval(), test.pixels, preprocess, "cpu"))
    return averaged, single


def sizes(setting: Setting) -> dict[str, dict[str, float]]:
    """The cost of the recipe's network; two networks cost twice as much."""
    from foveal.models.networks import build
    from foveal.studies.experiments.support.digits import cost_of, image_shape

    channels, _, classes = image_shape(setting)
    one = cost_of(build(_recipe().network(channels, classes)), setting)
    return {a.name: {k: v * (2 if a.name == "two networks" else 1) for k, v in one.items()} for a in ARMS}


def plot(results: Results, analysis: Mapping[str, Any]) -> Plot:
    """The contribution of each ingredient."""
    return forest_plot(
        "The contribution of each ingredient", CONTRIBUTIONS, analysis, x="accuracy with it − without"
    )


def _recipe() -> ScratchRecipe:
    return next(r for r in RECIPES if r.name == RECIPE)


def _training(arm: str) -> Any:  # noqa: ANN401
    """The recipe's training without the ingredient that the arm removes."""
    from foveal.studies.experiments.support.digits import Training
    from foveal.training.recipes.augmentation import Augment

    recipe = _recipe()
    training = Training(
        STEPS,
        batch=recipe.batch_size,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        warmup=recipe.warmup,
        ema=recipe.ema,
        augment=recipe.augment,
    )
    removed: dict[str, dict[str, Any]] = {
        "no augmentation": {"augment": Augment()},
        "no elastic distortion": {"augment": replace(training.augment, elastic=0.0)},
        "no weight averaging": {"ema": 0.0},
        "no weight decay": {"weight_decay": 0.0},
        "no warm-up": {"warmup": 0.0},
    }
    return replace(training, **removed.get(arm, {}))


FULL = "full recipe"
ARMS = (
    Arm(FULL, f"the recipe {RECIPE}, with predictions averaged over shifts by {SHIFT} px"),
    Arm("no augmentation", "no translation, rotation, scaling and elastic distortion in training"),
    Arm("no elastic distortion", "without the smooth random displacement (Simard et al. 2003)"),
    Arm("no weight averaging", "the last weights instead of their moving average"),
    Arm("no weight decay", "weights do not decay"),
    Arm("no warm-up", "the learning rate starts at its peak"),
    Arm("two networks", "the probabilities of two networks averaged"),
)
_INGREDIENTS = {
    "augmentation": "no augmentation",
    "elastic distortion": "no elastic distortion",
    "weight averaging": "no weight averaging",
    "weight decay": "no weight decay",
    "warm-up": "no warm-up",
}
CONTRIBUTIONS = (
    *(
        Contrast(
            name,
            f"{name} increases the accuracy",
            difference(FULL, arm, "accuracy"),
            MIN_EFFECT_AUGMENTATION if name == "augmentation" else MIN_EFFECT,
        )
        for name, arm in _INGREDIENTS.items()
    ),
    Contrast(
        "averaging over shifts",
        "averaging predictions over small shifts increases the accuracy",
        difference(FULL, FULL, "accuracy", than="accuracy, single view"),
        MIN_EFFECT,
    ),
    Contrast(
        "a second network",
        "a second network increases the accuracy",
        difference("two networks", FULL, "accuracy"),
        MIN_EFFECT,
    ),
)
STUDY = Study(
    name="mnist",
    question="What makes a network good at MNIST?",
    claim="Each ingredient of the recipe increases the accuracy: augmentation, elastic distortion, weight "
    "averaging, weight decay, warm-up, averaging predictions over shifts, a second network.",
    arms=ARMS,
    measures=(
        Measure("accuracy", "test accuracy, predictions averaged over small shifts"),
        Measure("accuracy, single view", "test accuracy of a single view"),
    ),
    run=run,
    plot=plot,
    contrasts=CONTRIBUTIONS,
    sizes=sizes,
    equal=(Equal("macs", tuple(a.name for a in ARMS if a.name != "two networks")),),
    seconds=58,
    data="sample:mnist",
    method=f"The recipe is `{RECIPE}` of `training/recipes/scratch.py`, scaled down to {IMAGES:,} images and "
    f"{STEPS} steps, about as many epochs as the published result has over all 60,000 images, so that each "
    "ingredient has the same role within a few seconds. Each arm removes one ingredient. Intervals are over "
    "seeds, for one test set.",
)
