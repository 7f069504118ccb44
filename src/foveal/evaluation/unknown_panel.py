"""The report on images that are unlike all that a model was trained on, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foveal.data.wording import count_of


def unknown_panel(unknown: Mapping[str, Any]) -> list[str]:
    """Sentences about the detector of a run, a paragraph each.

    Args:
        unknown: as in `summary.json`.
    """
    rate = _percent(unknown["false_alarm_rate"])
    if unknown["score"] is None:
        return [f"This model can't tell images that are unlike its own: {unknown['reason']}."]
    found = [
        f"An image is called unknown when at most {rate} of images like the training images are as unusual (its "
        f"p-value). So about {rate} of images that are not unknown are refused, too: the false alarms. Compared were "
        f"{count_of(unknown['images'], 'image')} in {count_of(unknown['groups'], 'group')}, each scored by a model "
        "that had not learned from it."
    ]
    if (test := unknown["test"])["n"]:
        low, high = (_percent(bound) for bound in test["ci95"])
        found.append(
            f"Of {count_of(test['n'], 'test image')} {test['false_alarms']} were refused: {_percent(test['rate'])} "
            f"(95 % interval {low} to {high})."
        )
    if trial := unknown["trial"]:
        least = min(trial, key=lambda row: row["refused"])
        found.append(
            f"How often would it say so? Each class was held out in turn: had {least['class']} been forgotten, "
            f"{_percent(least['refused'], 0)} of it would have been refused; on average over "
            f"{count_of(len(trial), 'class', 'classes')} {_percent(unknown['refused'], 0)}. Images of another kind are "
            "usually easier to tell than a forgotten class."
        )
    else:
        found.append(
            "How often it notices an image that is unlike its own is not known: no class could be held out for a trial."
        )
    return found


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"
