"""What a search predicted for images that the predicting model was not trained on, collected for the run folder."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from foveal.data.split.held_out import HeldOut, Predictions
from foveal.metrics.calibration import fit_temperature, softmax
from foveal.training.compare import LabelEvidence
from foveal.training.context import RunContext
from foveal.training.ladder import SearchResult
from foveal.training.refit import Delivered
from foveal.values import Subset

Array = NDArray[np.float32]


def held_out_predictions(found: SearchResult, delivered: Delivered, context: RunContext) -> HeldOut:
    """Of the labels of the test subset, and of as many images as possible.

    Each set of predictions is calibrated by a temperature of its own. Of several for one image the first counts:
    those of the cross-validation of the refitted model, then of the final model, then of the others from the best.
    """
    classes = len(context.split.classes)
    temperature = found.best.calibration(context).temperature
    test = [p.record.sha256 for p in found.best.seen["test"]]
    logits = found.best.logits_on("test") if test else np.zeros((0, classes), dtype=np.float32)
    measured = dict(zip(test, softmax(logits, temperature), strict=True))
    rows: dict[str, Array] = {}
    for more in _sets(found, delivered, context):
        rows = {**more, **rows}
    return HeldOut(Predictions.of(measured, classes), Predictions.of({**measured, **rows}, classes))


def _sets(found: SearchResult, delivered: Delivered, context: RunContext) -> Iterator[dict[str, Array]]:
    """Sets of predictions by SHA-256, from the one to be preferred."""
    if delivered.out_of_fold is not None:
        yield _calibrated(delivered.out_of_fold, context)
    subsets: tuple[Subset, ...] = ("val", "test")
    for subset in subsets:
        records, logits = found.best.seen[subset], found.best.logits.get(subset)
        if logits is not None and len(records):
            yield _calibrated(LabelEvidence.of(records, logits, context.targets(records)), context)
    others = sorted(found.candidates, key=lambda c: (c is not found.best, -(c.score or 0.0)))
    for candidate in others:
        if isinstance(candidate.evidence, LabelEvidence):
            yield _calibrated(candidate.evidence, context)


def _calibrated(evidence: LabelEvidence, context: RunContext) -> dict[str, Array]:
    names = list(evidence.logits)
    logits = np.stack([evidence.logits[name] for name in names])
    labels = np.array([evidence.labels[name] for name in names], dtype=np.int64)
    return dict(zip(names, softmax(logits, fit_temperature(logits, labels)), strict=True))
