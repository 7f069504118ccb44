"""A training that was cut short may end worse than it began: then the model is what it began from.

The first steps of a fine-tuning have the highest learning rate, and only the last ones, with a low one, make up for
what these spoil. The learning rate of a schedule of a few steps is no lower.
"""

from __future__ import annotations

from foveal.training.compare import Evidence

#: Sum of z-values by which a training has to be ahead of its starting point when it made too few steps to be worth
#: starting; when it was stopped before its end; and when it ended, with fewer steps than the recipe has.
_AHEAD_OF_FEW, _AHEAD_WHEN_STOPPED, _AHEAD_WHEN_SHORT = 2.0, 0.0, -2.0


def falls_back(trained: Evidence, start: Evidence, *, enough: bool, complete: bool) -> tuple[bool, str]:
    """Whether the starting point is the better model, and why in words.

    Args:
        trained: predictions of the trained network for images that it was not trained on.
        start: those of the network before its first step.
        enough: whether it made as many steps as make a training worth starting.
        complete: whether it came to the end of its schedule.
    """
    comparison = trained.compare_to(start)
    if not comparison.n:
        return not enough, "too few steps, and no images to tell by" if not enough else "no images to tell by"
    least = (_AHEAD_WHEN_SHORT if complete else _AHEAD_WHEN_STOPPED) if enough else _AHEAD_OF_FEW
    words = "" if enough else "too few steps; "
    return comparison.sum_of_z <= least, f"{words}trained, compared with its starting point, {comparison}"
