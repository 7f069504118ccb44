"""What a model assumes about how often each class occurs, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foveal.data.targets.labels import IMBALANCE


def prior_words(summary: Mapping[str, Any]) -> str:
    """A sentence for the report; empty where the classes are of similar sizes, or nothing is known of it."""
    prior = summary.get("prior")
    if not prior:
        return ""
    shares, tau = prior["shares"], prior["tau"]
    most, least = (f(shares, key=shares.__getitem__) for f in (max, min))
    if tau == 0 and shares[most] <= IMBALANCE * shares[least]:
        return ""
    ends = f"{100 * shares[most]:.1f} % {most}, {100 * shares[least]:.1f} % {least}"
    if tau == 0:
        return f"The model assumes that new images come in the shares of those it learned from: {ends}."
    if tau == 1:
        return "The model assumes that all classes are equally frequent: its logits were adjusted for that."
    return (
        "The model assumes shares of classes between those of the images that it learned from and equal ones "
        f"({ends}): its logits were adjusted with tau = {tau:g}."
    )
