"""The interval of a cross-validation: its monotonicity, groups, and the coverage of the part that can be simulated."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foveal.metrics.cross_validation import LEARNING_VARIANCE, cross_validation_effect, difference_interval
from foveal.metrics.intervals import wilson


def width(right, groups):
    effect = cross_validation_effect(right, groups)
    low, high = wilson(right.sum() / effect, len(right) / effect)
    return high - low


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.integers(2, 4))
def test_copies_of_every_image_tell_nothing_new(right, copies):
    alone = np.array(right)
    groups = [str(i) for i in range(len(right))]
    assert cross_validation_effect(alone, groups) == LEARNING_VARIANCE
    together = np.tile(alone, copies)
    assert width(together, groups * copies) >= width(alone, groups) - 1e-9
    assert abs(width(together, groups * copies) - width(alone, groups)) < 0.02


@given(st.integers(1, 400), st.floats(0, 1))
def test_more_images_make_it_narrower(count, share):
    right = np.arange(count) < round(share * count)
    names = [str(i) for i in range(4 * count)]
    assert width(np.repeat(right, 4), names) < width(right, names[:count])


def test_a_difference_of_shares_is_that_of_newcombe():
    """Example (a) of his paper: 56 of 70, and 48 of 80; by method 10 from 0.0524 to 0.3339."""
    low, high = difference_interval(56, 70, 48, 80)
    assert abs(low - 0.0524) < 1e-4 and abs(high - 0.3339) < 1e-4
    wider = difference_interval(56, 70, 48, 80, 2.0)
    assert wider[0] < low and wider[1] > high
