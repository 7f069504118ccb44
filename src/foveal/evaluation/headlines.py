"""Figures in words, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foveal.data.wording import count_of
from foveal.evaluation.wording import interval, percent

NOT_EVALUATED = (
    "not evaluated: no images were held out, because there are too few or because of --no-test",
    "`foveal evaluate RUN DATA` evaluates it on other labelled images",
)


def headline_of_labels(test: Mapping[str, Any], evaluations: int) -> tuple[str, str]:
    """How well, and how certain; `evaluations` on this test set so far."""
    if not test["n"]:
        return NOT_EVALUATED
    if test.get("method") == "cv":
        how = f"each predicted by one of {test['folds']} models that had not seen it"
        well = f"{percent(test['accuracy'])} accuracy on {count_of(test['n'], 'image')}, {how}"
        return well, f"95 % interval {interval(test['accuracy_ci95'])}, by cross-validation"
    well = f"{percent(test['accuracy'])} accuracy on {count_of(test['n'], 'held-out test image')}"
    return well, f"95 % interval {interval(test['accuracy_ci95'])}, evaluation {evaluations} on this test set"


def headline_of_masks(test: Mapping[str, Any], evaluations: int) -> tuple[str, str]:
    """How well, and how certain; `evaluations` on this test set so far."""
    if not test["n"]:
        return NOT_EVALUATED
    well = (
        f"mean IoU {percent(test['miou'])}, boundary F1 {percent(test['boundary_f1'])}, "
        f"{percent(test['pixel_accuracy'])} pixel accuracy on {count_of(test['n'], 'held-out test image')}"
    )
    bounds = test["miou_ci95"]
    certain = f"95 % interval {interval(bounds)}" if bounds else "no interval: only one block of neighbours"
    return well, f"{certain}, evaluation {evaluations} on this test set"


def lines_of_labels(test: Mapping[str, Any]) -> list[str]:
    """All figures."""
    lines = [
        f"accuracy           {with_interval(test, 'accuracy')}, n = {test['n']}",
        f"balanced accuracy  {with_interval(test, 'balanced_accuracy')}",
        f"macro F1           {with_interval(test, 'macro_f1')}",
        f"log-loss           {test['log_loss']:.3f}",
        f"calibration error  {percent(test['ece'])}",
    ]
    for row in test["per_class"]:
        recall, precision = percent(row["recall"]), percent(row["precision"])
        lines.append(f"  {row['label']:<20} recall {recall:>8}  precision {precision:>8}  n = {row['n']}")
    return lines


def lines_of_masks(test: Mapping[str, Any]) -> list[str]:
    """All figures."""
    lines = [
        f"mean IoU        {with_interval(test, 'miou')}, n = {test['n']}, {test['blocks']} blocks",
        f"boundary F1     {with_interval(test, 'boundary_f1')}",
        f"pixel accuracy  {with_interval(test, 'pixel_accuracy')}",
    ]
    for row in test["per_class"]:
        iou, edge, share = percent(row["iou"]), percent(row["boundary_f1"]), percent(row["share"])
        lines.append(f"  {row['label']:<20} IoU {iou:>8}  boundary F1 {edge:>8}  {share:>7} of the pixels")
    return lines


def with_interval(test: Mapping[str, Any], name: str) -> str:
    """A figure with its interval."""
    return f"{percent(test[name])}  (95 % interval {interval(test[f'{name}_ci95'])})"
