"""Intervals, held against scipy's, and against what they promise."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.metrics import bootstrap, wilson


@given(st.integers(1, 5000), st.floats(0, 1), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
@settings(max_examples=50, deadline=None)
def test_wilson_is_scipys(total, share, confidence):
    right = round(share * total)
    expected = scipy.stats.binomtest(right, total).proportion_ci(confidence, method="wilson")
    low, high = wilson(right, total, confidence)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= right / total <= high <= 1


@given(st.integers(1, 500), st.integers(0, 500))
@settings(max_examples=50, deadline=None)
def test_right_and_wrong_are_mirror_images(total, right):
    right = min(right, total)
    low, high = wilson(right, total)
    assert wilson(total - right, total) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_of_nothing_nothing_is_known():
    assert wilson(0, 0) is None
    assert bootstrap(lambda i: 0.0, 0) is None


def test_bootstrap_is_scipys_percentile_interval():
    values = np.random.default_rng(0).exponential(size=200)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    low, high = bootstrap(lambda i: float(values[i].mean()), 200, rounds=4000)
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.08 * width)
    assert high == pytest.approx(expected.high, abs=0.08 * width)


def test_bootstrap_resamples_positions_and_repeats_by_its_seed():
    seen = []

    def figure(positions):
        assert positions.shape == (7,)
        assert positions.min() >= 0
        assert positions.max() < 7
        seen.append(len(set(positions.tolist())))
        return float(positions.mean())

    once = bootstrap(figure, 7, rounds=200)
    assert len(seen) == 200
    assert min(seen) < 7
    assert bootstrap(figure, 7, rounds=200) == once
    assert bootstrap(figure, 7, rounds=200, seed=1) != once
