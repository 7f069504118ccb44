"""The decisions of a run, for a person: what was decided, what came out, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foveal.clock import format_duration

#: Kinds of decisions, see `foveal.decisions`, in words. A kind that is not here is shown by its name.
TITLES = {
    "route": "How images become inputs",
    "network": "The network that was trained from scratch",
    "engine": "What computes the pretrained network",
    "evaluation_engine": "What predicted the test images",
    "device": "Where gradients were computed",
    "normalization": "Normalization of the pixels",
    "geometry": "How an image is made square",
    "hflip": "Mirrored training images",
    "fit_images": "Images for the linear model on pixels",
    "backbone": "The pretrained network",
    "feature_size": "Input size of the pretrained network",
    "feature_seconds": "Time for the features of an image",
    "strategy": "The strategy of the final model",
    "settings": "Its settings",
    "refit": "Refit on all images",
    "test": "What the figures are measured on",
    "learning_curve": "Learning curve",
    "unknown": "What tells images unlike its own",
    "tau": "Logit adjustment for unbalanced classes (tau)",
    "skip": "Tried",
    "keep": "Kept",
    "head_strength": "Regularisation of the linear head (C × n)",
    "image_size": "Image size",
    "scale": "Scale of the images",
    "training_images": "Images it was trained on",
    "steps": "Optimizer steps",
    "learning_rate": "Learning rate",
    "batch_size": "Batch size",
    "members": "Members of the ensemble",
    "fallback": "Kept the model that the training began with",
    "sole_strategy": "Used the time of the next strategy as well",
    "epoch_seconds": "Time for an epoch",
    "step_seconds": "Time for a step",
    "image_seconds": "Time for a training image",
    "prediction_seconds": "Time to predict an image",
    "memory": "How a step fits into memory",
    "accumulation": "Micro-batches, raised when memory ran short",
    "schedule_changes": "Changes of the schedule",
    "stopped_at": "Stopped at step",
    "restarts": "Restarts from the first step",
    "prediction_batch": "Images predicted at once",
}
#: Whose value is empty where the thing was done, and otherwise says why it was not.
_REFUSALS = ("skip", "refit", "learning_curve")
_LONGEST = 300


@dataclass(frozen=True)
class Decided:
    """One decision.

    Attributes:
        subject: whose it was: a strategy or a training; empty: the run's.
        title: what was decided.
        value: what came out.
        reason: why; empty where the value says it.
    """

    subject: str
    title: str
    value: str
    reason: str


def in_words(made: Mapping[str, Any]) -> list[Decided]:
    """Decisions as `config.json` holds them, those of the run first, then by strategy, each in the order made."""
    found = []
    for name, decision in made.items():
        subject, _, kind = name.rpartition("/")
        value, reason = _value(kind, decision["value"]), str(decision["reason"])
        shown = "" if reason == str(decision["value"]) else reason
        found.append(Decided(subject, TITLES.get(kind, kind.replace("_", " ")), value, shown))
    order = {subject: i for i, subject in enumerate(dict.fromkeys(d.subject for d in found))}
    return sorted(found, key=lambda d: (d.subject != "", order[d.subject]))


def _value(kind: str, value: Any) -> str:  # noqa: ANN401
    if kind in _REFUSALS:
        return f"no: {value}" if value else "yes"
    if kind.endswith("_seconds") and isinstance(value, int | float):
        return _short_time(float(value))
    text = _plain(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _plain(value: Any) -> str:  # noqa: ANN401
    """JSON as a person writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{_name(k)} {_plain(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, list | tuple):
        return "; ".join(map(_plain, value)) if any(isinstance(v, list | tuple) for v in value) else _row(value)
    return str(value)


def _row(values: list[Any] | tuple[Any, ...]) -> str:
    return ", ".join(map(_plain, values))


def _name(key: str) -> str:
    return str(key).replace("_", " ")


def _short_time(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else format_duration(seconds)
