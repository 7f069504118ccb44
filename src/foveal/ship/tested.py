"""The chosen model on the test side, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from foveal.data.pairs import open_pair
from foveal.data.pixels import refuse_changed
from foveal.errors import UnreadableImage
from foveal.fit import Candidate, Work
from foveal.fit.calibration import softmax
from foveal.machine import ALARM, rss
from foveal.measure import MaskMeasurement, Measurement, measure, measure_masks
from foveal.measure.masks import Answered
from foveal.progress import Bar
from foveal.ship.bundle import Bundle
from foveal.ship.masks import MaskPredictor
from foveal.values import Placed


def tested_labels(bundle: Bundle, candidate: Candidate, work: Work) -> Measurement:
    """By the candidate's answers, calibrated."""
    tested = candidate.seen["test"]
    probabilities = softmax(candidate.logits_on("test"), bundle.manifest.temperature)
    return measure(probabilities, work.labels(tested), [p.record.path for p in tested], work.split.classes)


def tested_masks(bundle: Bundle, candidate: Candidate, work: Work) -> MaskMeasurement:
    """By asking the bundle, picture by picture, each at its own size."""
    assert work.split.legend is not None
    tested = candidate.seen["test"]
    predictor = MaskPredictor(bundle, memory=_left(work.memory), max_pixels=work.max_pixels)
    with work.progress.stage("masks of the test side", len(tested)) as bar:
        found = measure_masks(_answers(predictor, tested, work.max_pixels, bar), work.split.legend)
    work.decisions.record("engine", predictor.engine_name, predictor.engine_reason)
    return found


def _left(budget: int | None) -> int | None:
    """Bytes that a pass may take of a budget for the whole process; a quarter of it at least."""
    if budget is None:
        return None
    return max(budget // 4, int(ALARM * budget) - (rss() or 0))


def _answers(predictor: MaskPredictor, tested: Sequence[Placed], max_pixels: int, bar: Bar) -> Iterator[Answered]:
    for placed in tested:
        try:
            picture, truth = open_pair(placed.record, predictor.legend, max_pixels=max_pixels)
        except UnreadableImage as refusal:
            refuse_changed([refusal.path])
            raise
        mask = predictor.answer(picture).mask
        assert mask is not None
        yield Answered(placed.record.path, placed.group, mask, truth)
        bar(1)
