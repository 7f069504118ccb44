"""Models of several labels for each image, measured: on the test subset of their run, or by `foveal evaluate`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.targets.label_sets import LabelSets
from foveal.data.targets.label_text import labels_in
from foveal.data.wording import count_of, first_few
from foveal.evaluation.evaluate_classifier import Judging, evaluate_run
from foveal.evaluation.headlines import NOT_EVALUATED, with_interval
from foveal.evaluation.label_sets import LabelSetMeasurement, measure_label_sets
from foveal.evaluation.unseen import Selection
from foveal.evaluation.wording import interval, percent
from foveal.inference.multi_label import thresholds_of
from foveal.progress import Progress
from foveal.values import Finding, ImageRecord, Manifest, SplitRecord


def evaluate_label_sets(
    run: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    include_seen: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """See `evaluate_run`; labels of other data that the model does not have are left out, their images are not.

    Raises:
        UnknownName: when none of the labels is a class of the model.
    """
    return evaluate_run(run, data, _JUDGING, include_seen=include_seen, progress=progress)


def label_sets_on_test_subset(
    logits: NDArray[np.float32], records: Sequence[SplitRecord], manifest: Manifest
) -> LabelSetMeasurement:
    """Figures of logits `(N, K)` that the model gave during training, calibrated as its bundle says."""
    return _measured(LabelSets.probabilities(logits, manifest.temperature), records, manifest)


def headline_of_label_sets(test: Mapping[str, Any], evaluations: int) -> tuple[str, str]:
    """How well, and how certain; `evaluations` on this test set so far."""
    if not test["n"]:
        return NOT_EVALUATED
    well = (
        f"mAP {percent(test['map'])}, macro F1 {percent(test['macro_f1'])} on "
        f"{count_of(test['n'], 'held-out test image')}"
    )
    return well, f"95 % interval of mAP {interval(test['map_ci95'])}, evaluation {evaluations} on this test set"


def lines_of_label_sets(test: Mapping[str, Any]) -> list[str]:
    """All figures."""
    lines = [
        f"mAP                {with_interval(test, 'map')}, n = {test['n']}",
        f"micro F1           {with_interval(test, 'micro_f1')}",
        f"macro F1           {with_interval(test, 'macro_f1')}",
        f"all labels right   {with_interval(test, 'subset_accuracy')}",
        f"hamming loss       {percent(test['hamming_loss'])}",
    ]
    for row in test["per_class"]:
        figures = (percent(row[name]) for name in ("average_precision", "recall", "precision"))
        ap, recall, precision = (f"{text:>8}" for text in figures)
        lines.append(f"  {row['label']:<20} AP {ap}  recall {recall}  precision {precision}  n = {row['n']}")
    return lines


def _of_known_classes(given: Selection, classes: Sequence[str]) -> Selection:
    unknown = sorted({name for r in given.records for name in labels_in(r.label)} - set(classes))
    if not unknown:
        return given
    finding = Finding(
        "labels_not_in_model",
        "warning",
        f"the model has no {count_of(len(unknown), 'label')} of this data: {first_few(unknown)}",
        "they are left out of the figures; their images count for the other labels",
        len(unknown),
    )
    return replace(given, findings=[*given.findings, finding])


def _measure(
    probabilities: NDArray[np.float32], records: Sequence[ImageRecord], manifest: Manifest
) -> LabelSetMeasurement:
    placed = [SplitRecord(r, "test", r.group or r.sha256) for r in records]
    return _measured(probabilities, placed, manifest)


def _measured(
    probabilities: NDArray[np.float32], placed: Sequence[SplitRecord], manifest: Manifest
) -> LabelSetMeasurement:
    return measure_label_sets(
        probabilities,
        LabelSets().encode(placed, manifest.classes),
        [p.record.path for p in placed],
        manifest.classes,
        thresholds_of(manifest),
        [p.group for p in placed],
    )


_JUDGING = Judging(LabelSets(), _of_known_classes, _measure)
