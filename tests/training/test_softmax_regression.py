"""The same model as scikit-learn's."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from foveal.training.softmax_regression import fit_softmax


@pytest.fixture(scope="module")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    return pixels.astype(np.float32), labels.astype(np.int64)


@pytest.mark.parametrize("strength", [1.0, 16.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_its_probabilities_are_those_of_scikit_learn(digits, strength, classes):
    pixels, labels = (given[digits[1] < classes] for given in digits)
    deviation = np.where(pixels.std(axis=0) < 1e-6, 1, pixels.std(axis=0))
    standard = ((pixels - pixels.mean(axis=0)) / deviation).astype(np.float32)
    theirs = LogisticRegression(C=strength / len(labels), max_iter=5000, tol=1e-8).fit(standard, labels)
    ours = np.exp(fit_softmax(standard, labels, strength).log_probabilities(standard))
    assert ours.sum(axis=1) == pytest.approx(1)
    assert np.abs(ours - theirs.predict_proba(standard)).max() < 0.01


def test_it_keeps_labels_and_goes_on_from_a_weaker_penalty(digits):
    pixels, labels = (given[digits[1] % 3 == 0] for given in digits)
    pixels = pixels / 16
    first = fit_softmax(pixels, labels, 4.0)
    assert first.classes.tolist() == [0, 3, 6, 9]
    cold, warm = (fit_softmax(pixels, labels, 64.0, start=begin, tolerance=1e-6) for begin in (None, first))
    assert np.abs(cold.log_probabilities(pixels) - warm.log_probabilities(pixels)).max() < 0.01
    there = fit_softmax(pixels, labels, 64.0, start=warm, iterations=1)
    assert np.abs(there.log_probabilities(pixels) - warm.log_probabilities(pixels)).max() < 0.01


def test_pixels_that_never_vary_do_no_harm():
    rng = np.random.default_rng(0)
    pixels = np.concatenate([rng.normal(size=(60, 1)), np.full((60, 2), 0.0)], axis=1).astype(np.float32)
    model = fit_softmax(pixels, (pixels[:, 0] > 0).astype(np.int64), 100.0)
    assert np.isfinite(model.weight).all() and np.isfinite(model.bias).all()
    assert (model.log_probabilities(pixels).argmax(axis=1) == (pixels[:, 0] > 0)).mean() > 0.9
