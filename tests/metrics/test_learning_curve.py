"""Extrapolated accuracies: known curves are recovered, and the interval follows what is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.metrics.learning_curve import FORMS, extrapolate, fit

SIZES = np.array([50.0, 100, 200, 300, 400])
CURVES = {
    "power law": lambda m: 2.0 * m**-0.5,
    "power law with a floor": lambda m: 0.05 + 3.0 * m**-0.75,
    "exponential with a floor": lambda m: 0.08 + 0.3 * np.exp(-m / 120),
    "inverse with a floor": lambda m: 0.1 + 8.0 / m,
    "logarithm": lambda m: 0.5 - 0.06 * np.log(m),
}


def drawn(curve, images, seed=0):
    """Whether each image is predicted right at each point: an image that is right once stays so."""
    difficulty = np.random.default_rng(seed).random(images)
    return np.stack([difficulty >= curve(m) for m in SIZES])


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_curve_of_a_form_is_recovered_by_it(form):
    errors = CURVES[form.name](SIZES)
    points = SIZES / SIZES[-1]
    found, misfit = fit(form, points, errors[None], np.full(5, 1e-6), 2.0)
    assert found[0] == pytest.approx(CURVES[form.name](800.0), abs=0.005) and misfit[0] < 5


@pytest.mark.parametrize("name", CURVES)
def test_the_interval_holds_what_the_curve_becomes(name):
    curve = CURVES[name]
    held = []
    for seed in range(10):
        found = extrapolate(SIZES, drawn(curve, 400, seed), [str(i) for i in range(400)], 800)
        held.append(found.ci95[0] <= 1 - curve(800.0) <= found.ci95[1])
        assert found.ci95[0] <= found.accuracy <= found.ci95[1] and sum(w for _, w, _ in found.forms) > 0.999
    assert sum(held) >= 8


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.integers(2, 4))
def test_copies_of_images_in_groups_tell_nothing_new(seed, copies):
    right = drawn(CURVES["power law"], 150, seed)
    names = [str(i) for i in range(150)]
    alone = extrapolate(SIZES, right, names, 800)
    grouped = extrapolate(SIZES, np.tile(right, copies), names * copies, 800)
    apart = extrapolate(SIZES, np.tile(right, copies), [str(i) for i in range(150 * copies)], 800)
    width, wide, narrow = (f.ci95[1] - f.ci95[0] for f in (alone, grouped, apart))
    assert wide == pytest.approx(width, abs=0.02) and narrow < wide


def test_further_away_is_less_certain():
    right, names = drawn(CURVES["power law with a floor"], 300), [str(i) for i in range(300)]
    widths = [np.ptp(extrapolate(SIZES, right, names, images).ci95) for images in (400, 800, 3200)]
    assert widths == sorted(widths)


def test_without_an_error_the_interval_is_still_one():
    found = extrapolate(SIZES, np.ones((5, 90), dtype=bool), [str(i) for i in range(90)], 180)
    assert found.ci95[0] < 0.97 and found.ci95[1] == 1.0
    with pytest.raises(ValueError, match="2 points"):
        extrapolate(SIZES[:2], np.ones((2, 9), dtype=bool), list("abcdefghi"), 180)
