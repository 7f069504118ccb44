"""A whole network on the CPU gives what torch gives; converted once, refused where predictions differ."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from foveal.engines.network import is_ready, largest_difference, network_engine
from foveal.engines.torch_engine import TorchEngine
from foveal.values import Preprocess

SHAPE = (24, 40, 3)
GREY = Preprocess(mean=(30.0, 0.0, 0.0), std=(60.0, 1.0, 1.0), channels=1)


def noise(shape, count=1):
    """Soft blobs, `(N, H, W, C)`, 8 bits."""
    height, width, channels = shape
    coarse = np.random.default_rng(0).integers(0, 256, (count, channels, 6, 8), dtype=np.uint8)
    planes = [[np.asarray(Image.fromarray(plane).resize((width, height))) for plane in p] for p in coarse]
    return np.array(planes, dtype=np.uint8).transpose(0, 2, 3, 1).copy()


def mapping(channels=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1)).eval()


@pytest.mark.parametrize(("preprocess", "channels"), [(Preprocess(), 3), (GREY, 1)])
def test_its_logits_are_those_of_torch_for_any_number_of_images(preprocess, channels, fresh_cache):
    shape = (24, 40, channels)
    engine, _ = network_engine(lambda: mapping(channels), "a", preprocess, shape, lambda: noise(shape, 3))
    assert engine.name == "openvino"
    pixels = noise(shape, 5)
    expected = TorchEngine(mapping(channels), preprocess, device="cpu")(pixels)
    assert expected.shape == (5, 4, 24, 40)
    for some in (pixels, pixels[:1]):
        found = engine(some)
        assert found.shape == expected[: len(some)].shape
        assert np.abs(found - expected[: len(some)]).max() < (1e-4 if engine.precision == "fp32" else 0.05)


def test_a_classifier_goes_the_same_way(fresh_cache):
    module = nn.Sequential(mapping(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    engine, _ = network_engine(lambda: module, "c", Preprocess(), SHAPE, lambda: noise(SHAPE), precision="fp32")
    assert engine.precision == "fp32" and engine(noise(SHAPE, 2)).shape == (2, 4)


def test_the_second_time_neither_torch_nor_a_picture_is_asked(fresh_cache):
    assert not is_ready("b", Preprocess(), SHAPE)
    network_engine(mapping, "b", Preprocess(), SHAPE, lambda: noise(SHAPE))
    assert is_ready("b", Preprocess(), SHAPE)
    refuse = lambda: pytest.fail("asked again")  # noqa: E731
    engine, _ = network_engine(refuse, "b", Preprocess(), SHAPE, refuse)
    assert engine.name == "openvino"


def test_an_engine_with_other_predictions_is_not_taken(fresh_cache):
    """The first call converts one module, the comparison is made with another."""
    modules = iter([mapping(seed=0), mapping(seed=1)])
    engine, _ = network_engine(
        lambda: next(modules, mapping(seed=1)), "d", Preprocess(), SHAPE, lambda: noise(SHAPE)
    )
    assert engine.name == "torch"


def test_the_largest_difference_is_that_of_probabilities_not_of_logits():
    a = np.array([[2.0, 0.0], [0.0, 0.0]])
    assert largest_difference(a, a + 5) < 1e-9
    b = np.array([[2.0, 0.0], [np.log(3), 0.0]])
    assert largest_difference(a, b) == pytest.approx(0.25)
    maps = np.stack([a, b], axis=2)  # two positions, of which one is the same
    assert largest_difference(maps, np.stack([a, a], axis=2)) == pytest.approx(0.125)


class Unexportable(nn.Module):
    """Branches on its data."""

    def forward(self, x):
        if x.mean() > 1000:
            x = x + 1
        return x.mean(dim=(2, 3))


def test_a_network_that_can_not_be_converted_is_computed_by_torch_and_not_tried_again(fresh_cache):
    made = []

    def network():
        made.append(1)
        return Unexportable()

    for _ in range(2):
        engine, reason = network_engine(network, "e", Preprocess(), SHAPE, lambda: noise(SHAPE, 2))
        assert engine.name == "torch" and reason and engine(noise(SHAPE, 2)).shape == (2, 3)
    assert len(made) == 3  # once to convert it
