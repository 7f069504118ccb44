"""The reliability diagram and the interval of the calibration error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.metrics.reliability import calibration_error_interval, expected_calibration_error, reliability


def drawn(n, seed, sharpen=1.0):
    """Probabilities of two classes, and labels drawn from them before they are sharpened."""
    rng = np.random.default_rng(seed)
    true = rng.uniform(0.5, 1.0, n)
    labels = (rng.uniform(size=n) > true).astype(np.int64)
    said = np.clip(0.5 + (true - 0.5) * sharpen, 0.5, 1.0)
    return np.stack([said, 1 - said], axis=1).astype(np.float32), labels


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_every_image_is_in_one_bin(n, seed):
    probabilities, labels = drawn(n, seed)
    bins = reliability(probabilities, labels)
    assert sum(b["n"] for b in bins) == n
    right = (probabilities.argmax(axis=1) == labels).sum()
    assert sum(b["n"] * b["accuracy"] for b in bins) == pytest.approx(right)
    for b in bins:
        assert b["low"] - 1e-6 <= b["confidence"] <= b["high"] + 1e-6
        assert b["accuracy_ci95"][0] <= b["accuracy"] <= b["accuracy_ci95"][1]
    assert [b["low"] for b in bins] == sorted(b["low"] for b in bins)


def test_the_interval_tells_a_calibrated_model_from_one_that_is_not():
    low, high = calibration_error_interval(*drawn(2000, 0))
    assert low == 0 and high < 0.06
    low, high = calibration_error_interval(*drawn(2000, 0, sharpen=1.8))
    assert low > 0.08 and high >= expected_calibration_error(*drawn(2000, 0, sharpen=1.8))


def test_without_images_there_is_nothing():
    nothing = np.zeros((0, 2), dtype=np.float32), np.zeros(0, dtype=np.int64)
    assert reliability(*nothing) == [] and calibration_error_interval(*nothing) is None
