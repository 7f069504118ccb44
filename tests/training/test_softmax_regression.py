"""The same model as scikit-learn's."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from foveal.training.linear_head import fit_head
from foveal.training.softmax_regression import fit_softmax


@pytest.fixture(scope="module")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    return pixels.astype(np.float32), labels.astype(np.int64)


@pytest.mark.parametrize("strength", [1.0, 16.0])
def test_its_probabilities_are_those_of_scikit_learn(digits, strength):
    pixels, labels = digits
    deviation = np.where(pixels.std(axis=0) < 1e-6, 1, pixels.std(axis=0))
    standard = (pixels - pixels.mean(axis=0)) / deviation
    theirs = LogisticRegression(C=strength / len(labels), max_iter=5000, tol=1e-8).fit(standard, labels)
    logits = fit_softmax(pixels, labels, strength).logits(pixels).astype(np.float64)
    ours = np.exp(logits - logits.max(axis=1, keepdims=True))
    ours /= ours.sum(axis=1, keepdims=True)
    assert np.abs(ours - theirs.predict_proba(standard)).max() < 0.01


def test_it_predicts_held_out_images_as_well_as_the_usual_head(digits):
    pixels, labels = digits
    train, rest = slice(0, 1200), slice(1200, None)
    heads = (
        fit_softmax(pixels[train], labels[train], 1024.0, floor=1.0),
        fit_head(pixels[None, train], labels[train], 1024.0, floor=1.0),
    )
    one, other = ((h.logits(pixels[rest]).argmax(axis=1) == labels[rest]).mean() for h in heads)
    assert one > 0.9 and one == pytest.approx(other, abs=0.01)


def test_pixels_that_never_vary_do_no_harm():
    rng = np.random.default_rng(0)
    pixels = np.concatenate([rng.normal(size=(60, 1)), np.full((60, 2), 7.0)], axis=1).astype(np.float32)
    head = fit_softmax(pixels, (pixels[:, 0] > 0).astype(np.int64), 100.0)
    assert (
        np.isfinite(head.weight).all() and (head.logits(pixels).argmax(axis=1) == (pixels[:, 0] > 0)).mean() > 0.9
    )
