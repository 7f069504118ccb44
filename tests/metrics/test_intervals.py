"""Intervals, held against scipy's, and against what they promise."""

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.metrics.intervals import wilson, with_variance


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


@given(st.integers(1, 5000), st.floats(0.01, 0.99))
@settings(max_examples=50, deadline=None)
def test_a_figure_with_the_variance_of_a_proportion_has_its_interval(total, share):
    right = round(share * total)
    given_variance = with_variance(right / total, share, share * (1 - share) / total)
    assert given_variance == pytest.approx(wilson(right, total))
