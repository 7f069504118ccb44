"""Crops of images and their masks: a pure function of the step, ignored outside of the image, around rare classes."""

import numpy as np
import torch

from colour_blocks import COLOURS, blocks
from foveal.metrics.segmentation import VOID
from foveal.training.batches.crops import CropOptions, Crops
from foveal.training.recipes.segmentation import FULL
from foveal.training.trainers.segmentation import crop_size
from foveal.values import Preprocess


def crops(options, pixels=None, masks=None, **given):
    if pixels is None:
        pixels, masks = blocks(4)
    return Crops(pixels, masks, Preprocess(), options=options, **{"size": 4, "classes": 3, "seed": 0} | given)


def test_a_crop_and_its_mask_go_together_and_depend_on_the_step_alone():
    pixels, masks = blocks(4)
    masks[:, :8] = VOID
    options = CropOptions(
        64,
        64,
        min_zoom=0.7,
        max_zoom=1.5,
        rotate=20,
        stretch=0.2,
        hflip=True,
        brightness_contrast=0,
        channel_gain=0,
    )
    batches = crops(options, pixels, masks)
    seen, wanted = batches(3)
    assert seen.shape == (4, 3, 64, 64) and wanted.shape == (4, 64, 64) and wanted.dtype == torch.long
    again, later = crops(options, pixels, masks)(3), batches(4)
    assert torch.equal(seen, again[0]) and torch.equal(wanted, again[1]) and not torch.equal(seen, later[0])
    values = (seen * 128 + 127).permute(0, 2, 3, 1)
    nearest = (values[..., None, :] - torch.tensor(COLOURS).float()).square().sum(-1).argmin(-1)
    known = wanted != VOID
    assert set(wanted[known].tolist()) == {0, 1, 2} and (~known).any()
    # Bilinear colours and nearest classes differ at edges.
    assert float((nearest == wanted)[known].float().mean()) > 0.95


def test_outside_of_the_image_are_the_ignore_index_and_the_mean_colour():
    options = CropOptions(
        128, 192, min_zoom=0.5, max_zoom=0.5, rotate=0, stretch=0, brightness_contrast=0, channel_gain=0
    )
    seen, wanted = crops(options)(0)
    assert (wanted == VOID).float().mean() > 0.8
    assert float(seen.permute(0, 2, 3, 1)[wanted == VOID].abs().max()) < 1.5


def test_crops_are_cut_around_rare_classes():
    masks = np.zeros((2, 256, 256), dtype=np.uint8)
    masks[:, 10:14, 200:204] = 1
    pixels = np.zeros((2, 3, 256, 256), dtype=np.uint8)
    shares = []
    for probability in (0.0, 1.0):
        batches = crops(CropOptions(64, 64, class_crop_prob=probability), pixels, masks, size=2)
        shares.append(np.mean([bool((batches(s)[1] == 1).any()) for s in range(40)]))
    assert shares[1] > shares[0] + 0.2


class CountedMasks(list):
    """Masks that count how often each is taken."""

    def __init__(self, masks):
        super().__init__(masks)
        self.taken = [0] * len(masks)

    def __getitem__(self, i):
        self.taken[i] += 1
        return super().__getitem__(i)


def test_only_masks_of_images_that_are_cropped_are_read():
    """Speed is measured on a few crops, before all masks were searched for classes to cut around."""
    pixels, masks = blocks(6)
    counted = CountedMasks(list(masks))
    batches = crops(CropOptions(64, 64, class_crop_prob=1.0), pixels, counted, size=2)
    assert counted.taken == [0] * 6
    batches(0)
    assert sum(n > 0 for n in counted.taken) == 2
    first = sum(counted.taken)
    batches(0)
    assert sum(counted.taken) - first < first  # their classes are remembered
    batches(1)
    batches(2)
    assert all(counted.taken)


def test_crops_have_the_shape_of_the_images_and_are_no_larger():
    assert crop_size(FULL, 360, 480, 1.0) == (224, 288)
    assert crop_size(FULL, 64, 96, 1.0) == (64, 96)
    assert crop_size(FULL, 64, 96, 0.5) == (32, 64)
