"""From a classifier to a map: a small version of `bench/digit_map.py`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import digit_map
from foveal.data.targets.mask_loss import class_weights, segmentation_loss
from foveal.models.networks import build
from foveal.models.small import SmallNet

pytestmark = pytest.mark.slow

#: Half as many layers as the bench has, and steps on windows, then on masks.
_NETWORK = {**digit_map.NETWORK, "stages": [[16], [32], [64]]}
_STEPS, _MORE = 90, 40


@pytest.fixture(scope="module")
def scenes() -> tuple[digit_map.Scenes, digit_map.Scenes]:
    """To train on, and 20 scenes held out."""
    training, held_out = digit_map.drawn()
    return training, (held_out[0][:20], held_out[1][:20])


@pytest.fixture(scope="module")
def classifier(scenes: tuple[digit_map.Scenes, digit_map.Scenes]) -> SmallNet:
    """Trained on windows with one label each, in a short time."""
    torch.manual_seed(0)
    module = build(_NETWORK)
    assert isinstance(module, SmallNet)
    batch = digit_map.windows(scenes[0], 0)
    digit_map.learn("windows", module, batch, _STEPS, 0, functional.cross_entropy)
    return module.eval()


def test_a_classifier_finds_digits_without_masks_and_masks_make_it_exact(
    classifier: SmallNet, scenes: tuple[digit_map.Scenes, digit_map.Scenes]
) -> None:
    """It finds much of the ink without masks, but too wide an area; training on masks corrects that."""
    unseen = digit_map.judged("classifier", digit_map.mapped(classifier), scenes[1])
    assert unseen["right_on_ink"] > 2 / digit_map.CLASSES
    assert unseen["called_digit"] > 1.5 * unseen["ink"]
    weights = class_weights(list(scenes[0][1]), digit_map.CLASSES, 0.5)
    unpooled = digit_map.Unpooled(classifier)
    batch = digit_map.wholes(scenes[0], 0)
    digit_map.learn("masks", unpooled, batch, _MORE, 0, segmentation_loss(weights, 0.5))
    taught = digit_map.judged("masks-unpooled", unpooled.eval(), scenes[1])
    assert taught["miou"] > unseen["miou"] + 0.05
    assert taught["boundary_f1"] > 2 * unseen["boundary_f1"]


def test_middles_are_inside_their_digits(scenes: tuple[digit_map.Scenes, digit_map.Scenes]) -> None:
    """The point that stands for a click is on ink of its class, or near it."""
    masks = scenes[0][1][:20]
    assert all(digit_map.middles(m) for m in masks)
    for mask in masks:
        for y, x, label in digit_map.middles(mask):
            around = mask[max(0, y - 12) : y + 13, max(0, x - 12) : x + 13]
            assert label in np.unique(around)
