"""Batches of images: a function of the step alone, changed at random within their range."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from digits import bars
from foveal.training.batches.arrays import Batches, logits_of, prediction_batch_size
from foveal.training.batches.augment import augmented
from foveal.training.recipes.augmentation import Augment
from foveal.values import Preprocess

GREY = Preprocess(size=12, channels=1)


def batches(n=50, size=16, **given):
    pixels, labels = bars(n)
    options = {"augment": Augment(), "seed": 3, "device": "cpu", **given}
    return Batches(pixels[:, None], labels.astype(np.int64), GREY, size=size, **options), pixels


def test_an_epoch_shows_each_image_once_in_a_new_order_each_time():
    made, pixels = batches(48)
    seen = [torch.cat([made(e * 3 + k)[0] for k in range(3)]) for e in range(2)]
    for epoch in seen:
        shown = np.sort((epoch * 128 + 127).round().numpy().astype(np.uint8).reshape(48, -1), axis=0)
        assert (shown == np.sort(pixels.reshape(48, -1), axis=0)).all()
    assert not torch.equal(seen[0], seen[1])


def test_a_batch_is_a_function_of_its_step():
    made, _ = batches(augment=Augment(translate=1, rotate=10, elastic=0.5))
    first = [made(step) for step in (0, 7, 3, 7)]
    other, _ = batches(augment=Augment(translate=1, rotate=10, elastic=0.5))
    assert torch.equal(first[1][0], first[3][0]) and torch.equal(first[1][0], other(7)[0])
    assert not torch.equal(first[0][0], first[1][0])
    elsewhere, _ = batches(augment=Augment(translate=1, rotate=10, elastic=0.5), seed=4)
    assert not torch.equal(first[1][0], elsewhere(7)[0])


def test_fewer_images_than_a_batch():
    made, _ = batches(5)
    assert made.size == 5 and made.per_epoch == 1 and len(made(9)[1]) == 5


@settings(max_examples=30, deadline=None)
@given(
    st.builds(
        Augment,
        translate=st.floats(0, 3),
        rotate=st.floats(0, 30),
        scale=st.floats(0, 0.3),
        shear=st.floats(0, 0.3),
        elastic=st.floats(0, 2),
        hflip=st.booleans(),
    ),
    st.integers(0, 1000),
)
def test_augmentation_keeps_form_and_range(augment, seed):
    images = torch.rand(4, 3, 9, 13)
    changed = augmented(images, augment, torch.Generator().manual_seed(seed))
    assert changed.shape == images.shape
    assert changed.min() >= images.min() - 1e-5 and changed.max() <= images.max() + 1e-5
    assert torch.equal(changed, augmented(images, augment, torch.Generator().manual_seed(seed)))


def test_a_flat_image_stays_as_it_is_under_any_change():
    flat = torch.full((3, 1, 8, 8), 0.25)
    changed = augmented(flat, Augment(2, 20, 0.2, 0.2, 1.0, hflip=True), torch.Generator().manual_seed(0))
    assert torch.allclose(changed, flat, atol=1e-6)


def test_a_rotation_by_its_own_angle():
    """Against torchvision's rotation, an independent implementation."""
    from torchvision.transforms.v2 import InterpolationMode, functional

    image = torch.from_numpy(bars(1, side=21)[0][None]).float()
    augment = Augment(rotate=25)
    generator = torch.Generator().manual_seed(5)
    angle = float((2 * torch.rand(1, generator=torch.Generator().manual_seed(5)) - 1) * 25)
    changed = augmented(image, augment, generator)[0, 0, 5:-5, 5:-5]
    expected = functional.rotate(image, angle, InterpolationMode.BILINEAR)[0, 0, 5:-5, 5:-5]
    other = functional.rotate(image, -angle, InterpolationMode.BILINEAR)[0, 0, 5:-5, 5:-5]
    assert min((changed - expected).abs().max(), (changed - other).abs().max()) < 0.5


@pytest.mark.parametrize("size", [1, 7, 100])
def test_logits_do_not_depend_on_the_size_of_prediction_batches(size):
    pixels, _ = bars(20)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 4))
    logits = logits_of(module, pixels[:, None], GREY, "cpu", size)
    inputs = (torch.from_numpy(pixels[:, None]).float() - 127) / 128
    assert logits == pytest.approx(module(inputs).detach().numpy(), abs=1e-5)
    assert len(logits_of(module, pixels[:0, None], GREY, "cpu", size)) == 0


def test_prediction_batches_shrink_with_the_image():
    sizes = [prediction_batch_size(side, "cpu") for side in (16, 96, 224, 2000)]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] >= 1
