"""A trained model on the test subset of its own run, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from foveal.data.images.pixels import refuse_changed
from foveal.data.targets.labels import Labels
from foveal.data.targets.pairs import open_pair
from foveal.errors import UnreadableImage
from foveal.evaluation.classification import Measurement, measure
from foveal.evaluation.segmentation import MaskMeasurement, MaskPair, measure_masks
from foveal.inference.segmenter import SegmentationPredictor
from foveal.progress import Bar, Progress
from foveal.values import Manifest, SplitRecord


def labels_on_test_subset(
    logits: NDArray[np.float32], labels: NDArray[np.int64], records: Sequence[SplitRecord], manifest: Manifest
) -> Measurement:
    """Figures of logits that the model gave during training, calibrated as its bundle says.

    Args:
        logits: `(N, K)`, not yet calibrated.
        labels: `(N,)` positions in the classes.
        records: the N images.
        manifest: of the bundle.
    """
    probabilities = Labels.probabilities(logits, manifest.temperature)
    paths = [r.record.path for r in records]
    measured = measure(probabilities, labels, paths, manifest.classes, set_threshold=manifest.set_threshold)
    measured.figures["method"] = "subset"
    return measured


def masks_on_test_subset(
    predictor: SegmentationPredictor, records: Sequence[SplitRecord], *, max_pixels: int, progress: Progress
) -> MaskMeasurement:
    """Figures of the masks that a bundle predicts, image by image, each at its own size.

    Args:
        predictor: of the bundle.
        records: images with masks.
        max_pixels: larger images are refused.
        progress: is told of each image.

    Raises:
        DataError: when files changed since they were first read.
    """
    with progress.stage("masks of the test subset", len(records)) as bar:
        return measure_masks(_predicted(predictor, records, max_pixels, bar), predictor.label_map)


def _predicted(
    predictor: SegmentationPredictor, records: Sequence[SplitRecord], max_pixels: int, bar: Bar
) -> Iterator[MaskPair]:
    for record in records:
        try:
            image, target = open_pair(record.record, predictor.label_map, max_pixels=max_pixels)
        except UnreadableImage as refusal:
            refuse_changed([refusal.path])
            raise
        mask = predictor.predict_mask(image).mask
        assert mask is not None
        yield MaskPair(record.record.path, record.group, mask, target)
        bar(1)
