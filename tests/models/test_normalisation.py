"""Mean and standard deviation by channel: the same bits in numpy and in torch."""

import numpy as np
import pytest
import torch

from foveal.models.normalisation import Normalisation, normalised
from foveal.values import Preprocess


@pytest.mark.parametrize("channels", [1, 3])
def test_numpy_and_torch_give_the_same_bits(channels):
    preprocess = Preprocess(channels=channels, mean=(120.5, 110.0, 99.3), std=(60.1, 57.5, 51.0))
    pixels = np.random.default_rng(0).integers(0, 256, (2, channels, 5, 7), dtype=np.uint8)
    expected = (pixels.astype(np.float64) - np.array(preprocess.mean[:channels])[:, None, None]) / np.array(
        preprocess.std[:channels]
    )[:, None, None]
    in_numpy, in_torch = normalised(pixels, preprocess), Normalisation(preprocess)(torch.from_numpy(pixels))
    assert in_numpy.dtype == np.float32 and in_torch.dtype == torch.float32
    assert in_numpy == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(in_numpy, in_torch.numpy())


def test_the_strides_stay():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    assert Normalisation(Preprocess())(images).is_contiguous(memory_format=torch.channels_last)
