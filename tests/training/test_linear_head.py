"""The linear head, compared with scikit-learn's logistic regression."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from foveal.metrics.calibration import softmax
from foveal.models.linear_head import LinearHead
from foveal.training.linear_head import fit_head, out_of_fold_logits


def blobs(k, each=40, width=12, spread=2.5, seed=0):
    """Overlapping clouds with very different scales a feature: `(N, D)` and `(N,)`."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(k, width))
    labels = np.repeat(np.arange(k), each)
    points = centres[labels] + spread * generator.normal(size=(len(labels), width))
    scale = np.logspace(-2, 2, width)
    return (points * scale + 5 * scale).astype(np.float32), labels.astype(np.int64)


def sklearn_probabilities(train, labels, other, strength):
    scaler = StandardScaler().fit(train.astype(np.float64))
    model = LogisticRegression(C=strength / len(train), max_iter=5000, tol=1e-8)
    model.fit(scaler.transform(train), labels)
    return model.predict_proba(scaler.transform(other))


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("strength", [1.0, 16.0])
def test_the_head_is_logistic_regression_on_standardised_features(k, strength):
    features, labels = blobs(k)
    other, _ = blobs(k, seed=1)
    head = fit_head(features[None], labels, strength)
    assert (head.weight.shape, head.bias.shape) == ((k, 12), (k,))
    computed = softmax(head.logits(other))
    expected = sklearn_probabilities(features, labels, other, strength)
    assert np.abs(computed - expected).max() < 0.01
    sure = np.diff(np.sort(expected, axis=1)[:, -2:], axis=1)[:, 0] > 0.03
    assert (computed.argmax(axis=1) == expected.argmax(axis=1))[sure].all()
    assert sure.sum() > 30


@pytest.mark.parametrize("k", [2, 3])
def test_rare_classes_stay_rare(k):
    features, labels = blobs(k, each=60)
    kept = (labels > 0) | (np.arange(len(labels)) < 10)
    head = fit_head(features[None, kept], labels[kept], 4.0)
    expected = sklearn_probabilities(features[kept], labels[kept], features, 4.0)
    assert np.abs(softmax(head.logits(features)) - expected).max() < 0.01


@pytest.mark.parametrize("k", [2, 4])
def test_every_view_counts_as_a_image(k):
    features, labels = blobs(k)
    mirrored = (features + np.random.default_rng(5).normal(size=features.shape) * features.std(axis=0)).astype(
        np.float32
    )
    head = fit_head(np.stack([features, mirrored]), labels, 4.0)
    stacked = sklearn_probabilities(np.concatenate([features, mirrored]), np.tile(labels, 2), features, 4.0)
    assert np.abs(softmax(head.logits(features)) - stacked).max() < 0.01


def test_several_views_are_predicted_by_the_mean_of_their_logits():
    generator = np.random.default_rng(0)
    head = LinearHead(
        generator.normal(size=(3, 5)).astype(np.float32), generator.normal(size=3).astype(np.float32)
    )
    views = generator.normal(size=(2, 7, 5)).astype(np.float32)
    expected = (head.logits(views[0]) + head.logits(views[1])) / 2
    assert head.logits(views) == pytest.approx(expected, abs=1e-5)


def test_a_feature_that_never_changes_does_no_harm():
    features, labels = blobs(3)
    features[:, 4] = 17.0
    head = fit_head(features[None], labels, 4.0)
    assert np.isfinite(head.weight).all()
    assert np.isfinite(head.bias).all()
    without = np.delete(features, 4, axis=1)
    same = fit_head(without[None], labels, 4.0)
    assert softmax(head.logits(features)) == pytest.approx(softmax(same.logits(without)), abs=1e-3)


@given(st.integers(2, 5), st.integers(0, 20), st.floats(0.01, 100), st.floats(-10, 10))
@settings(max_examples=25, deadline=None)
def test_units_of_the_features_do_not_matter(k, seed, scale, shift):
    features, labels = blobs(k, each=12, width=4, seed=seed)
    moved = (features * np.float32(scale) + np.float32(shift) * features.std(axis=0)).astype(np.float32)
    one = softmax(fit_head(features[None], labels, 4.0).logits(features))
    other = softmax(fit_head(moved[None], labels, 4.0).logits(moved))
    assert np.abs(one - other).max() < 0.02


def test_a_weaker_regularisation_is_more_confident():
    features, labels = blobs(3)
    sure = [
        softmax(fit_head(features[None], labels, s).logits(features)).max(axis=1).mean() for s in (0.1, 1, 10, 100)
    ]
    assert sure == sorted(sure)


def test_the_same_data_give_the_same_head():
    features, labels = blobs(3)
    one, two = (fit_head(features[None], labels, 4.0) for _ in range(2))
    assert (one.weight == two.weight).all()
    assert (one.bias == two.bias).all()


def test_images_that_no_line_separates_raise_no_warning():
    labels = np.array([0, 1] * 10)
    head = fit_head(np.zeros((1, 20, 3), dtype=np.float32), labels, 64.0)
    assert softmax(head.logits(np.zeros((1, 3), dtype=np.float32)))[0] == pytest.approx([0.5, 0.5], abs=1e-3)


def test_with_a_floor_a_feature_that_is_inactive_here_does_not_decide_elsewhere():
    features, labels = blobs(3)
    inactive = np.zeros((len(features), 1), dtype=np.float32)
    inactive[labels == 0] = 1e-5 * np.random.default_rng(0).random((40, 1)).astype(np.float32)
    seen = np.hstack([features / features.std(axis=0), inactive])
    active = seen.copy()
    active[:, -1] = 1.0
    bare, floored = (fit_head(seen[None], labels, 4.0, floor=floor) for floor in (0.0, 0.1))
    assert np.abs(bare.logits(active) - bare.logits(seen)).max() > 1000
    assert np.abs(floored.logits(active) - floored.logits(seen)).max() < 1
    same = floored.logits(features / features.std(axis=0) @ np.eye(12, 13)).argmax(axis=1) == labels
    assert same.mean() > 0.7  # as overlapping clouds go: it tells them apart by the rest


@pytest.mark.parametrize("k", [2, 3])
def test_out_of_fold_predictions_are_those_of_heads_that_were_fitted_without_the_fold(k):
    features, labels = blobs(k)
    folds = np.arange(len(labels)) % 4
    found = np.exp(out_of_fold_logits(features[None], labels, folds, 16.0))
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    for fold in range(4):
        inside = folds != fold
        expected = sklearn_probabilities(features[inside], labels[inside], features[~inside], 16.0)
        assert np.abs(found[~inside] - expected).max() < 0.05
        others = labels.copy()
        others[~inside] = (labels[~inside] + 1) % k  # an image's own label has no part in its prediction
        assert (np.exp(out_of_fold_logits(features[None], others, folds, 16.0))[~inside] == found[~inside]).all()


def test_out_of_fold_predictions_average_the_views_as_the_head_does():
    features, labels = blobs(3)
    views = np.stack([features, features[:, ::-1]])
    found = out_of_fold_logits(views, labels, np.arange(len(labels)) % 4, 4.0)
    head = fit_head(views, labels, 4.0)
    assert np.abs(softmax(found) - softmax(head.logits(views))).max() < 0.25
    assert (found.argmax(axis=1) == head.logits(views).argmax(axis=1)).mean() > 0.9
