"""Augmentation of a batch: each image in its own way."""

import torch

from foveal.training.batches.augment import augmented
from foveal.training.recipes.augmentation import STRENGTHS, Augment


def test_colour_changes_every_image_in_its_own_way_and_none_does_nothing():
    images = torch.zeros(4, 3, 8, 8) + 0.5
    assert torch.equal(augmented(images, STRENGTHS["none"], torch.Generator().manual_seed(0)), images)
    augment = Augment(brightness_contrast=0.2, channel_gain=0.1)
    changed = augmented(images, augment, torch.Generator().manual_seed(0))
    assert changed.flatten(2).std(dim=2).max() < 1e-6  # the same at all pixels
    assert len({round(float(v), 4) for v in changed[:, 0, 0, 0]}) == 4
    assert (changed - 0.5).abs().max() <= 0.2 + 0.5 * 0.3 + 1e-6
    assert not torch.equal(changed[:, 0], changed[:, 1])
