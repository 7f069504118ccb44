"""`sample:digit-scenes` is always the same, contains every digit, and only ink has a digit's class."""

import hashlib

import numpy as np
import pytest

from foveal.data.sources.digit_scenes import COUNT, HEIGHT, WIDTH, Glyph, ScenePainter, scenes
from foveal.data.sources.list_data import list_data
from foveal.data.sources.samples import sample_names, unpack


def test_the_scenes_are_the_same_wherever_they_are_made():
    mnist = unpack("mnist")
    made = list(scenes(mnist, 12))
    again = list(scenes(mnist, 3))
    for (name, image, mask), (same, other, twin) in zip(made, again, strict=False):
        assert name == same and image.tobytes() == other.tobytes() and mask.tobytes() == twin.tobytes()
    masks = np.stack([np.asarray(mask) for _, _, mask in made])
    assert masks.shape == (12, HEIGHT, WIDTH) and masks.max() <= 10
    # Masks are integers drawn by numpy's stable generators: one digest for all machines.
    digest = hashlib.sha256(masks.tobytes()).hexdigest()[:16]
    assert digest == "eb7d546c31b530cd"
    assert 0.03 < (masks > 0).mean() < 0.2
    assert len(set(np.unique(masks)) - {0}) >= 8


def test_the_sample_is_a_folder_of_images_and_masks(fresh_cache):
    listing = list_data("sample:digit-scenes")
    assert listing.task == "segment" and len(listing.entries) == COUNT and not listing.excluded
    assert "digit-scenes" in sample_names()
    assert unpack("digit-scenes") == unpack("digit-scenes")


def painter(attempts, digits=(8, 8), colour=None):
    block = np.full((10, 10), 255, dtype=np.uint8)
    return ScenePainter(
        background=lambda rng: np.zeros((24, 24, 3)),
        glyph=lambda rng: Glyph(block, int(rng.integers(1, 9)), colour),
        digits=digits,
        ink=100,
        attempts=attempts,
    )


@pytest.mark.parametrize("attempts", [1, 30])
def test_digits_never_overlap(attempts):
    for seed in range(20):
        canvas, mask = painter(attempts).paint(np.random.default_rng(seed))
        assert (mask > 0).sum() % 100 == 0 and (mask > 0).any()
        assert np.array_equal(canvas.sum(axis=2) > 0, mask > 0)


def test_more_attempts_place_more_digits():
    few, many = (
        sum((painter(n).paint(np.random.default_rng(seed))[1] > 0).sum() for seed in range(20)) for n in (1, 30)
    )
    assert many > few


def test_a_digit_has_the_colour_that_it_was_given():
    canvas, mask = painter(1, digits=(1, 1), colour=np.array([10.0, 20.0, 30.0])).paint(np.random.default_rng(0))
    assert np.array_equal(np.unique(canvas[mask > 0], axis=0), [[10.0, 20.0, 30.0]])
