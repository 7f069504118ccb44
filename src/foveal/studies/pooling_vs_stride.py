"""What should make a map smaller, pooling or a convolution that skips places? And is pooling invariant?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from foveal.studies.analysis import Results
from foveal.studies.frame import Arm, Contrast, Equal, Measure, Plot, Said, Series, Setting, Study, difference

if TYPE_CHECKING:
    from torch import nn

PICTURES, STEPS, BATCH = 3000, 200, 64
WIDTHS = (12, 24, 48)
#: Test pictures that are shifted, and by how many pixels down and right.
TESTED, PAIRS = 4000, ((0, 1), (1, 0), (1, 1), (2, 1), (1, 2), (3, 3))


def network(arm: str, channels: int, classes: int, *, wider: float = 1.0) -> nn.Module:
    """Three convolutions; behind the first two the map becomes half as wide and high, in the arm's way."""
    from torch import nn

    from foveal.models.zoo.blocks import convolution_norm
    from foveal.studies.layers import BlurPool, tower

    widths = [round(w * wider) for w in WIDTHS]
    shrinks: dict[str, Callable[[int], nn.Module]] = {
        "max": lambda width: nn.MaxPool2d(2),
        "average": lambda width: nn.AvgPool2d(2),
        "overlapping": lambda width: nn.MaxPool2d(3, stride=2, padding=1),
        "blur": lambda width: nn.Sequential(nn.MaxPool2d(2, stride=1), BlurPool(width)),
    }
    shrink = shrinks.get(arm)

    def block(before: int, width: int) -> nn.Module:
        last = width == widths[-1]
        convolution = convolution_norm(before, width, 3, stride=1 if shrink or last else 2)
        return nn.Sequential(convolution, shrink(width)) if shrink and not last else convolution

    return tower(channels, widths, classes, block)


def _network(arm: str, setting: Setting) -> nn.Module:
    from foveal.studies.digits import form_of

    channels, _, classes = form_of(setting)
    wide = arm == "strided, wider"
    return network("strided" if wide else arm, channels, classes, wider=_wider(setting) if wide else 1.0)


@lru_cache(maxsize=1)
def _wider(setting: Setting) -> float:
    """By how much wider a strided network must be to multiply as often as a pooled one."""
    import torch

    from foveal.studies.digits import form_of, size_of

    channels, _, classes = form_of(setting)
    wanted = size_of(network("max", channels, classes), setting)["macs"]

    def miss(wider: float) -> float:
        return abs(size_of(network("strided", channels, classes, wider=wider), setting)["macs"] - wanted)

    finest = WIDTHS[-1]
    with torch.random.fork_rng():  # weights built next don't depend on whether this was known
        return min((width / finest for width in range(finest, 2 * finest)), key=miss)


def sizes(setting: Setting) -> dict[str, dict[str, float]]:
    """What each arm costs."""
    from foveal.studies.digits import size_of

    return {arm.name: size_of(_network(arm.name, setting), setting) for arm in ARMS}


def run(arm: str, seed: int, setting: Setting) -> dict[str, float]:
    """Accuracy, and how often a small shift of the picture changes the answer."""
    import torch

    from foveal.studies.digits import Lesson, accuracy, answers, learn, moved, scale_of, test_side, training_side

    train, test = training_side(setting, PICTURES, seed), test_side(setting)
    torch.manual_seed(seed)
    module = _network(arm, setting)
    outcome = learn(module, train, Lesson(STEPS, batch=BATCH), setting, seed=seed)
    some, scale = test.drawn(setting.scaled(TESTED, 50), 1), scale_of(train)
    plain = answers(module, some, scale)
    changed = [float((answers(module, moved(some, *by), scale) != plain).mean()) for by in PAIRS]
    return {
        "accuracy": accuracy(module, test, scale),
        "changed": sum(changed) / len(changed),
        "seconds a step": outcome.seconds / outcome.steps,
    }


def plot(results: Results, found: Mapping[str, Any]) -> Plot:
    """What small shifts change, by arm."""
    points = tuple(results.point(arm.name, arm.name, "changed") for arm in ARMS)
    marks = ((_INVARIANT, "would pass for invariant"),)
    title = "How many answers a shift by 1 to 3 pixels changes"
    return Plot("dots", title, "answers changed", "", (Series("", points),), marks=marks)


_INVARIANT = 0.01
ARMS = (
    Arm("max", "the maximum of 2 × 2 places"),
    Arm("average", "the mean of 2 × 2 places"),
    Arm("overlapping", "the maximum of 3 × 3 places, every second one, as in AlexNet"),
    Arm("blur", "the maximum of 2 × 2 at every place, blurred before every second one is taken (Zhang 2019)"),
    Arm("strided", "no pooling: the convolution itself takes every second place; as many parameters"),
    Arm("strided, wider", "the same with wider layers: as many multiplications"),
)
#: What five seeds see by the spread of the first lab notebook; 0.005 before it.
_ACCURATE = 0.01
STUDY = Study(
    name="pooling-vs-stride",
    question="Max pooling, or a strided convolution?",
    claim="Max pooling is more accurate than a strided convolution with as many parameters, and than one with as "
    "many multiplications.",
    arms=ARMS,
    measures=(
        Measure("accuracy", f"test accuracy after learning from {PICTURES:,} pictures"),
        Measure("changed", "answers that a shift by 1 to 3 px changes"),
        Measure("seconds a step", f"a training step with {BATCH} pictures", "s"),
    ),
    run=run,
    plot=plot,
    contrasts=(
        Contrast(
            "at equal parameters",
            "max pooling is more accurate than striding with as many parameters",
            difference("max", "strided", "accuracy"),
            _ACCURATE,
        ),
        Contrast(
            "at equal MACs",
            "max pooling is more accurate than striding with as many multiplications",
            difference("max", "strided, wider", "accuracy"),
            _ACCURATE,
        ),
        Contrast(
            "invariant",
            f"behind max pooling a shift by 1 to 3 px changes at most {_INVARIANT:.0%} of the answers",
            ((1.0, "max", "changed"),),
            _INVARIANT,
            kind="no more",
            role="notebook",
        ),
        Contrast(
            "steadier than striding",
            "max pooling changes fewer answers under shifts than striding with as many multiplications",
            difference("strided, wider", "max", "changed"),
            0.005,
            role="finding",
        ),
        Contrast(
            "blur is steadier",
            "blur pooling changes fewer answers under shifts than max pooling",
            difference("max", "blur", "changed"),
            0.005,
            role="finding",
        ),
        Contrast(
            "overlapping is more accurate",
            "overlapping pooling is more accurate than plain max pooling (AlexNet's claim)",
            difference("overlapping", "max", "accuracy"),
            _ACCURATE,
            role="finding",
        ),
        Contrast(
            "max is more accurate than average",
            "max pooling is more accurate than average pooling",
            difference("max", "average", "accuracy"),
            _ACCURATE,
            role="finding",
        ),
        Contrast(
            "striding is faster",
            "striding takes less time a training step than max pooling, at equal parameters",
            difference("max", "strided", "seconds a step"),
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
    said=(Said("Pooling gives translation invariance", ("invariant",)),),
    seconds=23,
    data="sample:mnist",
    method="Three 3 × 3 convolutions with batch normalisation, the mean over all places, a linear layer; the "
    "first two are followed by what the arm is named for. Shifts are by 1 to 3 whole pixels right, down or both, "
    "black coming in; an answer counts as changed when another class is given, right or wrong.",
)
