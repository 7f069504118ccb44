"""What each ingredient of the recipe for small pictures is worth: the recipe, and the recipe without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from foveal.fit.recipes import RECIPES, Recipe
from foveal.studies.analysis import Results, forest
from foveal.studies.frame import Arm, Contrast, Equal, Measure, Plot, Setting, Study, difference

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PICTURES, STEPS = 4000, 200
#: The recipe that is shrunk to this size, and the small shifts that the longer recipes add to it.
RECIPE, SHIFTED = "scratch-minute", 1
#: Twenty-five of the 10,000 test pictures, and of augmentation sixty: what five seeds see by the spread of the
#: first lab notebook; ten for all before it.
LEAST, LEAST_AUGMENTED = 0.0025, 0.006


def run(arm: str, seed: int, setting: Setting) -> dict[str, float]:
    """Accuracy with answers averaged over small shifts, and from one look."""
    from foveal.studies.digits import test_side

    name = "whole" if arm == "two networks" else arm
    averaged, plain = answers(name, seed, setting)
    if arm == "two networks":
        other = answers(name, seed + 10_000, setting)
        averaged, plain = averaged + other[0], plain + other[1]
    labels = test_side(setting).labels
    return {
        "accuracy": float((averaged.argmax(axis=1) == labels).mean()),
        "accuracy, one look": float((plain.argmax(axis=1) == labels).mean()),
    }


@lru_cache(maxsize=4)
def answers(arm: str, seed: int, setting: Setting) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities `(N, K)` of the test pictures, averaged over small shifts and from one look.

    The pictures that are learned from are those of `seed % 10_000`: members of an ensemble share them.
    """
    import torch

    from foveal.fit.batches import logits_of
    from foveal.fit.calibration import softmax
    from foveal.models.networks import build
    from foveal.models.small import Shifted
    from foveal.studies.digits import form_of, learn, scale_of, test_side, training_side

    channels, _, classes = form_of(setting)
    train, test = training_side(setting, PICTURES, seed % 10_000), test_side(setting)
    recipe = _recipe()
    torch.manual_seed(seed)
    module = build(recipe.network(channels, classes))
    learn(module, train, _lesson(arm), setting, seed=seed)
    scale = scale_of(train)
    plain = softmax(logits_of(module, test.pixels, scale, "cpu"))
    averaged = softmax(logits_of(Shifted(module, SHIFTED).eval(), test.pixels, scale, "cpu"))
    return averaged, plain


def sizes(setting: Setting) -> dict[str, dict[str, float]]:
    """What a network of the recipe costs; two cost twice as much."""
    from foveal.models.networks import build
    from foveal.studies.digits import form_of, size_of

    channels, _, classes = form_of(setting)
    one = size_of(build(_recipe().network(channels, classes)), setting)
    return {a.name: {k: v * (2 if a.name == "two networks" else 1) for k, v in one.items()} for a in ARMS}


def plot(results: Results, found: Mapping[str, Any]) -> Plot:
    """What each ingredient is worth."""
    return forest("What each ingredient is worth", WORTH, found, x="accuracy with it − without")


def _recipe() -> Recipe:

    return next(r for r in RECIPES if r.name == RECIPE)


def _lesson(arm: str) -> Any:  # noqa: ANN401
    """How the recipe learns, without what the arm leaves out."""
    from foveal.fit.augment import Augment
    from foveal.studies.digits import Lesson

    recipe = _recipe()
    lesson = Lesson(
        STEPS,
        batch=recipe.batch,
        rate=recipe.rate,
        weight_decay=recipe.weight_decay,
        warmup=recipe.warmup,
        ema=recipe.ema,
        augment=Augment(**recipe.augment),  # type: ignore[arg-type]
    )
    left_out: dict[str, dict[str, Any]] = {
        "no augmentation": {"augment": Augment()},
        "no elastic bends": {"augment": replace(lesson.augment, elastic=0.0)},
        "no averaged weights": {"ema": 0.0},
        "no weight decay": {"weight_decay": 0.0},
        "no warm-up": {"warmup": 0.0},
    }
    return replace(lesson, **left_out.get(arm, {}))


ARMS = (
    Arm("whole", f"the recipe {RECIPE}, with answers averaged over shifts by {SHIFTED} px"),
    Arm("no augmentation", "no shifts, turns, scales and bends while learning"),
    Arm("no elastic bends", "without the smooth random displacement (Simard et al. 2003)"),
    Arm("no averaged weights", "the last weights instead of their running mean"),
    Arm("no weight decay", "weights are not pulled to zero"),
    Arm("no warm-up", "the rate begins at its peak"),
    Arm("two networks", "the probabilities of two networks averaged"),
)
_INGREDIENTS = {
    "augmentation": "no augmentation",
    "elastic bends": "no elastic bends",
    "averaged weights": "no averaged weights",
    "weight decay": "no weight decay",
    "warm-up": "no warm-up",
}
WORTH = (
    *(
        Contrast(
            name,
            f"{name} makes it more accurate",
            difference("whole", arm, "accuracy"),
            LEAST_AUGMENTED if name == "augmentation" else LEAST,
        )
        for name, arm in _INGREDIENTS.items()
    ),
    Contrast(
        "answers over shifts",
        "answers averaged over small shifts make it more accurate",
        difference("whole", "whole", "accuracy", than="accuracy, one look"),
        LEAST,
    ),
    Contrast(
        "a second network",
        "a second network makes it more accurate",
        difference("two networks", "whole", "accuracy"),
        LEAST,
    ),
)
STUDY = Study(
    name="mnist",
    question="What makes a network good at MNIST?",
    claim="Each ingredient of the recipe makes it more accurate: augmentation, elastic bends, averaged weights, "
    "weight decay, warm-up, answers averaged over shifts, a second network.",
    arms=ARMS,
    measures=(
        Measure("accuracy", "test accuracy, answers averaged over small shifts"),
        Measure("accuracy, one look", "test accuracy of the picture as it is"),
    ),
    run=run,
    plot=plot,
    contrasts=WORTH,
    sizes=sizes,
    equal=(Equal("macs", tuple(a.name for a in ARMS if a.name != "two networks")),),
    seconds=58,
    data="sample:mnist",
    method=f"The recipe is `{RECIPE}` of `fit/recipes.py`, shrunk: {PICTURES:,} pictures and {STEPS} steps, "
    "about as many passes over the pictures as the record has over all 60,000, so that each ingredient does the "
    "same work in a few seconds. An arm leaves one ingredient out. Intervals are over seeds, for one test set.",
)
