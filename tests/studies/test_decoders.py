"""Decoders are compared on the same crops."""

import numpy as np

from foveal.models.backbones import find_backbone
from foveal.studies.experiments.support.decoders import compare_decoders
from foveal.training.recipes.segmentation import SegmentationRecipe

CLASSES, SIZE = 3, 64


def scenes(count):
    """Noise, with a bright block of class 1 and a dark one of class 2."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(90, 130, (count, 3, SIZE, SIZE)).astype(np.uint8)
    masks = np.zeros((count, SIZE, SIZE), dtype=np.uint8)
    for image, mask in zip(pixels, masks, strict=True):
        for label, level in ((1, 240), (2, 10)):
            y, x = rng.integers(0, SIZE - 24, 2)
            mask[y : y + 24, x : x + 24] = label
            image[:, y : y + 24, x : x + 24] = level
    return pixels, masks


def test_each_decoder_is_evaluated_on_the_test_images_and_runs_repeat():
    pixels, masks = scenes(6)
    recipe = SegmentationRecipe(
        "tiny", "unet", crop_area=64 * 64, batch_size=4, epochs=8, least_steps=4, scales=(0.5,)
    )
    reported = []

    def compare(decoders):
        return compare_decoders(
            (pixels[:4], masks[:4]),
            (pixels[4:], masks[4:]),
            classes=CLASSES,
            backbone=find_backbone(),
            decoders=decoders,
            steps=2,
            recipe=recipe,
            on_result=reported.append,
        )

    results = compare(("fcn32s", "fcn8s"))
    assert [r.decoder for r in results] == ["fcn32s", "fcn8s"] and results == reported
    for result in results:
        assert result.steps == 2 and 0 <= result.miou <= 1
        assert result.counts.shape == (2, CLASSES, CLASSES) and result.boundaries.shape == (2, CLASSES, 4)
        assert result.counts.sum() == masks[4:].size
    (again,) = compare(("fcn8s",))
    assert np.array_equal(again.counts, results[1].counts) and again.loss == results[1].loss
