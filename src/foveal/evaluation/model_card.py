"""`MODEL_CARD.md`: what the model is, how well it does, and what it is not for, as the Hugging Face Hub reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from foveal.data.wording import count_of
from foveal.evaluation.report import environment
from foveal.evaluation.wording import percent

if TYPE_CHECKING:
    import jinja2

#: Task → the Hub's name of it, the sentence of what a model does, and its figures.
_TASKS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "classify": (
        "image-classification",
        "A classifier of images into {classes}.",
        ("accuracy", "balanced_accuracy", "macro_f1"),
    ),
    "segment": (
        "image-segmentation",
        "A semantic segmenter: it gives each pixel of an image one of {classes}.",
        ("miou", "boundary_f1", "pixel_accuracy"),
    ),
}
#: Of a task from outside, with whatever figures have an interval.
_OTHER = ("other", "A model with {classes}.", ())
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+.!|<>~&-])")


def model_card(summary: Mapping[str, Any]) -> str:
    """The card of a run, in Markdown with YAML at its top.

    Args:
        summary: as in `summary.json`.
    """
    pipeline, what, names = _TASKS.get(summary["task"], _OTHER)
    test = summary["test"]
    known = [name for name in names or tuple(test) if test.get(f"{name}_ci95") is not None]
    page = _template().render(
        summary=summary,
        pipeline=pipeline,
        what=what.format(classes=count_of(len(summary["data"]["classes"]), "class", "classes")),
        metrics=[(name, round(test[name], 4)) for name in known],
        figures=[(name.replace("_", " "), test[name], test[f"{name}_ci95"]) for name in known],
        answer=_answer(test, known),
    )
    return page.encode("utf-8", "replace").decode()


@cache
def _template() -> jinja2.Template:
    markdown = environment().overlay(autoescape=False, finalize=None)
    markdown.filters = {**markdown.filters, "md": as_markdown}
    return markdown.get_template("model-card.md.j2")


def _answer(test: Mapping[str, Any], names: list[str]) -> str:
    if not test["n"] or not names:
        return "How well this model does was not measured."
    name = names[0]
    low, high = test[f"{name}_ci95"]
    return (
        f"{name.replace('_', ' ').capitalize()} {percent(test[name])} on {count_of(test['n'], 'held-out image')}; "
        f"the true figure is between {percent(low)} and {percent(high)} (95 % interval)."
    )


def as_markdown(text: str) -> str:
    """A name as plain text of Markdown: on one line, without markup or control characters."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return _SPECIAL.sub(r"\\\1", line)
