"""Figures of several labels for each image, against scikit-learn; and intervals that hold at 100 %."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, hamming_loss, log_loss

from foveal.metrics.multi_label import average_precisions, best_thresholds, map_interval, multi_label_figures


def example(seed, n=60, labels=4, *, digits=2):
    generator = np.random.default_rng(seed)
    targets = (generator.random((n, labels)) < np.linspace(0.6, 0.1, labels)).astype(np.int64)
    scores = np.clip(0.3 * targets + 0.7 * generator.random((n, labels)), 0.01, 0.99)
    return targets, np.round(scores, digits).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_average_precision_is_that_of_scikit_learn(seed, n, digits):
    targets, scores = example(seed, n, digits=digits)
    weights = np.random.default_rng(seed).integers(0, 4, (3, n)).astype(float)
    found, weighted = average_precisions(targets, scores), average_precisions(targets, scores, weights)
    for k in range(targets.shape[1]):
        if targets[:, k].any():
            assert found[k] == pytest.approx(average_precision_score(targets[:, k], scores[:, k]))
        else:
            assert np.isnan(found[k])
        for row, w in zip(weighted, weights, strict=True):
            if w @ targets[:, k] > 0:
                expected = average_precision_score(targets[:, k], scores[:, k], sample_weight=w)
                assert row[k] == pytest.approx(expected)


def test_figures_are_those_of_scikit_learn():
    targets, scores = example(0)
    thresholds = [0.5, 0.4, 0.6, 0.5]
    figures = multi_label_figures(scores, targets, "abcd", thresholds)
    predicted = (scores >= np.float32(thresholds)).astype(int)
    assert figures["map"] == pytest.approx(average_precision_score(targets, scores))
    for average in ("micro", "macro"):
        assert figures[f"{average}_f1"] == pytest.approx(f1_score(targets, predicted, average=average))
        low, high = figures[f"{average}_f1_ci95"]
        assert 0 < low < figures[f"{average}_f1"] < high < 1
    assert figures["hamming_loss"] == pytest.approx(hamming_loss(targets, predicted))
    assert figures["subset_accuracy"] == pytest.approx(accuracy_score(targets, predicted))
    each = [log_loss(targets[:, k], scores[:, k].astype(float)) for k in range(4)]
    assert figures["log_loss"] == pytest.approx(np.mean(each), rel=1e-5)
    for k, row in enumerate(figures["per_class"]):
        assert row["f1"] == pytest.approx(f1_score(targets[:, k], predicted[:, k]))
        for name in ("average_precision", "precision", "recall", "f1"):
            low, high = row[f"{name}_ci95"]
            assert low <= row[name] <= high


def test_an_interval_is_no_point_where_nothing_is_wrong():
    targets, _ = example(1, 30)
    figures = multi_label_figures(targets.astype(np.float32), targets, "abcd", [0.5] * 4)
    assert figures["map"] == 1 and 0.7 < figures["map_ci95"][0] < 0.99 and figures["map_ci95"][1] == 1
    assert figures["macro_f1_ci95"][0] < 0.99 and figures["per_class"][3]["average_precision_ci95"][0] < 0.9


def test_images_of_a_group_count_as_one():
    targets, scores = example(2, 40)
    alone, twice = map_interval(targets, scores), map_interval(np.repeat(targets, 4, 0), np.repeat(scores, 4, 0))
    grouped = map_interval(
        np.repeat(targets, 4, 0), np.repeat(scores, 4, 0), np.repeat(np.arange(40), 4).astype(str)
    )
    assert twice[1] - twice[0] < 0.7 * (alone[1] - alone[0]) < grouped[1] - grouped[0]


def test_no_images_and_labels_without_any():
    figures = multi_label_figures(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.int64), "ab", [0.5, 0.5])
    assert figures["n"] == 0 and figures["map"] is figures["micro_f1"] is figures["subset_accuracy"] is None
    targets, scores = example(3)
    targets[:, 1] = 0
    figures = multi_label_figures(scores, targets, "abcd", [0.5] * 4)
    assert figures["per_class"][1]["average_precision"] is None and figures["map_ci95"] is not None


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_the_threshold_is_the_best_of_all_where_many_images_have_the_label(seed):
    targets, scores = example(seed, 4000, 1, digits=1)
    found = float(best_thresholds(scores, targets)[0])
    tried = {t: f1_score(targets, scores >= t) for t in np.arange(0.05, 1, 0.1)}
    assert f1_score(targets, scores >= found) >= max(tried.values()) - 0.01


def test_few_images_leave_the_threshold_near_one_half():
    targets, scores = np.zeros((50, 2), np.int64), np.full((50, 2), 0.1, np.float32)
    targets[0, 0], scores[0] = 1, 0.95
    few, none = best_thresholds(scores, targets)
    assert 0.5 < few < 0.51 and none == 0.5
