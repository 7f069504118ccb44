"""Temperature and set threshold: guarantees about probabilities, checked by sampling from them."""

import math

import numpy as np
import pytest
import scipy.special
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import log_loss

from foveal.metrics.calibration import fit_temperature, in_sets, prediction_sets, softmax

LOGITS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(-500, 500, width=32)
)


@given(LOGITS, st.floats(0.05, 20))
@settings(max_examples=50, deadline=None)
def test_softmax_is_scipys(logits, temperature):
    expected = scipy.special.softmax(logits.astype(np.float64) / temperature, axis=1)
    computed = softmax(logits, temperature)
    assert computed.dtype == np.float32
    assert computed == pytest.approx(expected, abs=1e-6)


def honest(n, k=5, seed=0):
    """Logits, and labels drawn with exactly their probabilities."""
    generator = np.random.default_rng(seed)
    logits = (2 * generator.normal(size=(n, k))).astype(np.float32)
    chances = scipy.special.softmax(logits.astype(np.float64), axis=1)
    labels = (generator.random(n)[:, None] > chances.cumsum(axis=1)).sum(axis=1).clip(max=k - 1)
    return logits, labels


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.0, 5.0])
def test_exaggerated_scores_are_brought_back(factor):
    logits, labels = honest(4000)
    assert fit_temperature(logits * np.float32(factor), labels) == pytest.approx(factor, rel=0.15)


@given(st.integers(0, 1000), st.integers(10, 200), st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_calibration_does_not_worsen_the_log_loss_it_is_fitted_on(seed, n, factor):
    logits, labels = honest(n, seed=seed)
    logits = logits * np.float32(factor)
    temperature = fit_temperature(logits, labels)
    assert 0.05 <= temperature <= 20
    before, after = (
        log_loss(labels, scipy.special.softmax(logits.astype(float) / t, axis=1), labels=range(5))
        for t in (1.0, temperature)
    )
    assert after <= before + 1e-3
    assert (softmax(logits, temperature).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_a_perfect_score_is_not_taken_as_certainty():
    labels = np.arange(12) % 3
    logits = np.eye(3, dtype=np.float32)[labels] * 8
    assert 0.3 < fit_temperature(logits, labels) <= 1.0


@pytest.mark.parametrize("n", [0, 1, 9])
def test_few_images_fit_no_temperature(n):
    assert fit_temperature(np.ones((n, 3), dtype=np.float32), np.zeros(n, dtype=np.int64)) == 1.0


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    st.floats(0.05, 0.99),
)
@example([8e-17], 0.5)
@settings(max_examples=50, deadline=None)
def test_on_its_own_images_the_set_holds_the_promised_share(true, coverage):
    true = np.array(true, dtype=np.float32)
    probabilities = np.stack([true, 1 - true], axis=1)
    threshold = prediction_sets(probabilities, np.zeros(len(true), dtype=np.int64), coverage).threshold
    assert 0 <= threshold <= 1
    held = int((true >= threshold).sum())
    assert held >= min(len(true), math.ceil((len(true) + 1) * coverage))


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_on_new_images_the_set_holds_the_true_class_as_often_as_promised(coverage):
    n, held = 40, []
    for seed in range(150):
        logits, labels = honest(n + 60, seed=seed)
        probabilities = softmax(logits)
        threshold = prediction_sets(probabilities[:n], labels[:n], coverage).threshold
        held.append((probabilities[n:][np.arange(60), labels[n:]] >= threshold).mean())
    error = np.std(held) / len(held) ** 0.5
    assert coverage - 3 * error <= np.mean(held) <= coverage + 1 / (n + 1) + 3 * error


@pytest.mark.parametrize("n", [0, 1, 8])
def test_too_few_images_promise_nothing_and_every_class_is_in_the_set(n):
    sets = prediction_sets(np.full((n, 2), 0.5, dtype=np.float32), np.zeros(n, dtype=np.int64), 0.9)
    assert (sets.threshold, sets.at_least, sets.groups_needed) == (0.0, None, 9)
    assert in_sets(np.array([[0.3, 0.7]], dtype=np.float32), sets.threshold).all()


def test_nine_images_are_just_enough():
    true = np.linspace(0.5, 0.9, 9).astype(np.float32)
    computed = prediction_sets(np.stack([true, 1 - true], axis=1), np.zeros(9, dtype=np.int64), 0.9)
    assert computed.threshold == pytest.approx(0.5)


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_how_many_groups_a_coverage_needs(coverage, needed):
    for n in (needed - 1, needed):
        rows = np.full((n, 2), 0.5, dtype=np.float32)
        sets = prediction_sets(rows, np.zeros(n, dtype=np.int64), coverage)
        assert sets.groups_needed == needed and (sets.at_least is not None) == (n == needed)


@given(st.lists(st.floats(0, 1, width=32), min_size=20, max_size=60), st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_copies_in_one_group_change_nothing(true, copies):
    """Counted one by one they would promise what so few groups can't."""
    rows = np.stack([true, 1 - np.array(true)], axis=1).astype(np.float32)
    labels, names = np.zeros(len(true), dtype=np.int64), [str(i) for i in range(len(true))]
    once = prediction_sets(rows, labels, 0.9, names)
    again = prediction_sets(rows.repeat(copies, axis=0), labels.repeat(copies), 0.9, np.repeat(names, copies))
    assert (again.threshold, again.groups, again.at_least) == (once.threshold, once.groups, once.at_least)
    assert again.images == copies * once.images


def test_the_promise_for_one_calibration_holds_in_nine_of_ten():
    n, kept = 60, 0
    for seed in range(200):
        logits, labels = honest(n + 400, seed=seed)
        probabilities = softmax(logits)
        sets = prediction_sets(probabilities[:n], labels[:n], 0.9)
        kept += (probabilities[n:][np.arange(400), labels[n:]] >= sets.threshold).mean() >= sets.at_least - 0.015
    assert kept / 200 >= 0.85


@given(st.floats(0, 1, width=32))
def test_the_likeliest_class_is_always_in_the_set(threshold):
    rows = np.array([[0.2, 0.5, 0.3], [1 / 3, 1 / 3, 1 / 3]], dtype=np.float32)
    inside = in_sets(rows, threshold)
    assert inside[0, 1] and inside[1, 0]
    others = inside.copy()
    others[[0, 1], [1, 0]] = False
    assert (rows[others] >= np.float32(threshold)).all()
