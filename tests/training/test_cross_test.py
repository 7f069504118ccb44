"""Every image is tested once, by a head that learned nothing from it or its group."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data.targets.folds import stratified_folds
from foveal.training import linear_head
from foveal.training.cross_test import TEST_FOLDS, cross_test
from foveal.training.learning_curve import SHARES, curve_points, positions
from foveal.training.linear_head import Directions, fit_head, log_probabilities, solve


def blobs(count, classes=3, dimension=8, seed=0, apart=2.0):
    """Features `(1, N, D)` and labels of classes that overlap."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = random.normal(size=(classes, dimension)) * apart / np.sqrt(dimension)
    rows = centres[labels] + random.normal(size=(count, dimension))
    return rows.astype(np.float32)[None], labels.astype(np.int64)


def predicted(views, labels, groups, seed=0):
    folds = stratified_folds(labels, groups, seed, most=TEST_FOLDS, rare=True)

    def inner(some):
        codes = np.unique(labels[some], return_inverse=True)[1]
        return stratified_folds(codes, [groups[i] for i in some], seed, rare=True)

    return cross_test(views, labels, int(labels.max()) + 1, folds, inner, groups, coverage=0.9)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 25)), min_size=2, max_size=80),
    st.integers(2, 12),
    st.integers(0, 5),
)
def test_folds_hold_each_image_once_and_divide_no_group(images, most, seed):
    labels = np.array([label for label, _ in images])
    groups = [f"{label}-{number}" for label, number in images]
    labels = np.unique(labels, return_inverse=True)[1]
    folds = stratified_folds(labels, groups, seed, most=most, rare=True)
    names = np.array(groups)
    sizes = [len(set(names[labels == k])) for k in range(labels.max() + 1)]
    if min(sizes) < 2:
        assert folds is None
        return
    assert set(folds) == set(range(min(most, max(sizes))))
    assert all(len(set(folds[names == name])) == 1 for name in groups)
    for k in range(labels.max() + 1):  # each class is learned in every fold
        assert all((labels[folds != fold] == k).any() for fold in set(folds))


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 100))
def test_the_label_of_an_image_or_its_group_does_not_change_its_prediction(seed):
    """Labels of a whole group are exchanged: what is predicted for its fold stays as it was."""
    views, labels = blobs(40, classes=2, seed=seed)
    groups = [str(i // 2 if i % 2 == 0 else i // 2 + 100) for i in range(40)]
    folds = np.array([int(g) % 4 for g in groups])

    def run(labels):
        return cross_test(
            views,
            labels,
            2,
            folds,
            lambda some: np.unique(folds[some], return_inverse=True)[1],
            groups,
            coverage=0.9,
        )

    first, fold = run(labels), folds[seed % 40]
    changed = np.where(folds == fold, 1 - labels, labels)
    second = run(changed)
    assert (first.probabilities[folds == fold] == second.probabilities[folds == fold]).all()
    assert (first.thresholds[folds == fold] == second.thresholds[folds == fold]).all()
    assert (first.probabilities[folds != fold] != second.probabilities[folds != fold]).any()
    assert np.allclose(first.probabilities.sum(axis=1), 1, atol=1e-5)


def test_without_information_it_is_right_by_chance():
    """Copies of every image with random labels: only a leak between folds would be better than chance."""
    views, _ = blobs(40, seed=1)
    views = np.concatenate([views, views], axis=1)
    labels = np.random.default_rng(0).integers(0, 2, 40)
    labels = np.concatenate([labels, labels])
    groups = [str(i % 40) for i in range(80)]
    found = predicted(views, labels, groups)
    assert (found.probabilities.argmax(axis=1) == labels).mean() < 0.7


def test_a_class_of_two_images_is_tested_as_well():
    views, labels = blobs(62)
    labels[-2:] = 3
    found = predicted(views, labels, [str(i) for i in range(62)])
    assert found.probabilities.shape == (62, 4) and len(found.strengths) == TEST_FOLDS
    assert set(found.folds) == set(range(TEST_FOLDS)) and (found.probabilities.sum(axis=1) > 0.99).all()


@pytest.mark.parametrize(("count", "dimension"), [(40, 100), (200, 100), (90, 20)])
def test_a_head_in_principal_directions_is_the_head(count, dimension, monkeypatch):
    """For images that it was fitted on, and for others; as far as no direction is left out."""
    monkeypatch.setattr(linear_head, "_DIRECTIONS", min(count, 99) if dimension > 20 else 20)
    views, labels = blobs(count, dimension=dimension)
    others, _ = blobs(30, dimension=dimension, seed=2)
    directions = Directions(views)
    assert np.allclose(directions.turn(views), directions.turned, atol=2e-3)
    found = log_probabilities(solve(directions.turned, labels, 4.0), directions.turn(others))
    logits = fit_head(views, labels, 4.0).logits(others)
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert np.abs(np.exp(found) - np.exp(expected)).max() < 0.02


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=80), st.integers(0, 5))
def test_shares_of_a_learning_curve_are_nested_and_hold_whole_groups_of_each_class(images, seed):
    groups = [f"{label}-{number}" for label, number in images]
    labels = np.array([label for label, _ in images])
    places = positions(labels, groups, seed)
    assert ((places >= 0) & (places < 1)).all()
    assert len({(g, p) for g, p in zip(groups, places, strict=True)}) == len(set(groups))
    for share in SHARES:
        assert set(labels[places < share]) == set(labels)


def test_points_of_a_learning_curve_are_the_shares_and_rise():
    views, labels = blobs(240, apart=1.6)
    folds = np.arange(240) % 4
    sizes, right = curve_points(views, labels, folds, [str(i) for i in range(240)], 4.0, seed=0)
    assert sizes == pytest.approx([180 * share for share in SHARES], abs=1.5)
    assert right.shape == (len(SHARES), 240) and right[-1].mean() > right[0].mean()
