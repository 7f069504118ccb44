"""Figures, held against scikit-learn and against their definitions."""

import itertools

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.metrics import classification_figures, expected_calibration_error
from foveal.metrics.classification import (
    balanced_accuracy,
    balanced_accuracy_interval,
    confusion,
    macro_f1,
    macro_f1_interval,
    per_class_figures,
)
from foveal.metrics.intervals import wilson


@st.composite
def answered(draw, smallest=1):
    """Probabilities `(N, K)` and labels; classes may be missing from truth and answers."""
    n, k = draw(st.integers(smallest, 60)), draw(st.integers(2, 6))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    probabilities = generator.dirichlet(np.full(k, draw(st.sampled_from([0.2, 1.0, 5.0]))), n).astype(np.float32)
    labels = generator.integers(0, draw(st.integers(1, k)), n)
    return probabilities, labels, [f"c{i}" for i in range(k)]


@given(answered())
@settings(max_examples=25, deadline=None)
def test_figures_are_scikit_learns(data):
    probabilities, labels, classes = data
    k, answers = len(classes), probabilities.argmax(axis=1)
    found = classification_figures(probabilities, labels, classes)
    assert found["n"] == len(labels)
    assert [row["label"] for row in found["per_class"]] == classes
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, answers))
    recalls = reference.recall_score(labels, answers, labels=np.unique(labels), average="macro", zero_division=0)
    assert found["balanced_accuracy"] == pytest.approx(recalls)
    assert found["macro_f1"] == pytest.approx(
        reference.f1_score(labels, answers, average="macro", zero_division=0)
    )
    clipped = np.clip(probabilities.astype(np.float64), 1e-7, 1)
    expected = -np.log(clipped[np.arange(len(labels)), labels]).mean()
    assert found["log_loss"] == pytest.approx(expected, rel=1e-5)
    assert found["confusion"] == reference.confusion_matrix(labels, answers, labels=range(k)).tolist()


def test_log_loss_and_balanced_accuracy_where_every_class_occurs():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(4), 200).astype(np.float32)
    labels = generator.permutation(np.arange(200) % 4)
    found = classification_figures(probabilities, labels, list("abcd"))
    sums = probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    assert found["log_loss"] == pytest.approx(reference.log_loss(labels, probabilities / sums), rel=1e-5)
    expected = reference.balanced_accuracy_score(labels, probabilities.argmax(axis=1))
    assert found["balanced_accuracy"] == pytest.approx(expected)


@given(answered())
@settings(max_examples=50, deadline=None)
def test_per_class_figures_are_scikit_learns(data):
    probabilities, labels, classes = data
    answers = probabilities.argmax(axis=1)
    precision, recall, f1, support = reference.precision_recall_fscore_support(
        labels, answers, labels=range(len(classes)), zero_division=np.nan
    )
    rows = per_class_figures(confusion(labels, answers, len(classes)))
    assert [r["n"] for r in rows] == support.tolist()
    for i, row in enumerate(rows):
        for name, value in (("precision", precision[i]), ("recall", recall[i]), ("f1", f1[i])):
            assert row[name] is None if np.isnan(value) else row[name] == pytest.approx(value)
        if support[i]:
            assert row["recall_ci95"][0] <= row["recall"] <= row["recall_ci95"][1]
        else:
            assert row["recall_ci95"] is None


@given(answered())
@settings(max_examples=50, deadline=None)
def test_calibration_error_by_its_definition(data):
    """Guo 2017, eq. 3: over bins, the weighted gap between mean confidence and accuracy."""
    probabilities, labels, _ = data
    confidence, right = probabilities.max(axis=1).astype(float), probabilities.argmax(axis=1) == labels
    edges, total = np.linspace(0, 1, 16), 0.0
    for low, high in itertools.pairwise(edges):
        members = (confidence > low) & (confidence <= high)
        if members.any():
            total += members.mean() * abs(right[members].mean() - confidence[members].mean())
    assert expected_calibration_error(probabilities, labels) == pytest.approx(total, abs=1e-6)


def test_calibration_error_of_the_sure_and_the_wrong():
    sure = np.array([[1.0, 0.0]] * 4, dtype=np.float32)
    assert expected_calibration_error(sure, np.zeros(4, dtype=int)) == 0
    assert expected_calibration_error(sure, np.ones(4, dtype=int)) == 1
    assert expected_calibration_error(sure, np.array([0, 1, 0, 1])) == 0.5


def test_intervals_hold_their_figures():
    generator = np.random.default_rng(1)
    probabilities = generator.dirichlet(np.ones(3), 150).astype(np.float32)
    found = classification_figures(probabilities, generator.integers(0, 3, 150), list("abc"))
    for name in ("accuracy", "macro_f1"):
        low, high = found[f"{name}_ci95"]
        assert 0 <= low < found[name] < high <= 1


def test_certain_and_wrong_is_a_finite_loss():
    found = classification_figures(np.array([[1.0, 0.0]], dtype=np.float32), np.array([1]), ["a", "b"])
    assert np.isfinite(found["log_loss"])
    assert found["accuracy"] == 0


def test_no_images_no_figures():
    found = classification_figures(np.zeros((0, 2), dtype=np.float32), np.zeros(0, dtype=np.int64), ["a", "b"])
    assert found["n"] == 0
    for name in ("accuracy", "accuracy_ci95", "balanced_accuracy", "macro_f1", "macro_f1_ci95", "log_loss", "ece"):
        assert found[name] is None
    assert found["confusion"] == [[0, 0], [0, 0]]
    assert all(row["recall"] is None for row in found["per_class"])


INTERVALS = [(balanced_accuracy, balanced_accuracy_interval), (macro_f1, macro_f1_interval)]


@pytest.mark.parametrize(("figure", "interval"), INTERVALS)
@given(data=answered())
@settings(max_examples=50, deadline=None)
def test_an_interval_holds_its_figure_and_is_never_a_point(figure, interval, data):
    probabilities, labels, classes = data
    matrix = confusion(labels, probabilities.argmax(axis=1), len(classes))
    low, high = interval(matrix)
    assert 0 <= low <= figure(matrix) <= high <= 1 and high - low > 0.01


@pytest.mark.parametrize("interval", [i for _, i in INTERVALS])
def test_without_any_error_and_without_any_hit_there_is_still_doubt(interval):
    low, high = interval(np.diag([7, 6, 6]))
    assert high == 1 and low == pytest.approx(wilson(19, 19)[0], abs=0.05)
    never = np.roll(np.eye(485, dtype=np.int64), 1, axis=1)
    assert interval(never)[0] == 0 and wilson(0, 485)[1] <= interval(never)[1] < 0.02
    assert interval(np.zeros((3, 3), dtype=np.int64)) is None


@pytest.mark.parametrize("interval", [i for _, i in INTERVALS])
def test_more_images_say_more(interval):
    matrix = np.array([[8, 2, 0], [1, 9, 0], [0, 0, 10]])
    (low, high), (closer_low, closer_high) = interval(matrix), interval(100 * matrix)
    assert low < closer_low < closer_high < high
    assert (closer_high - closer_low) * 10 == pytest.approx(high - low, rel=0.3)


@pytest.mark.parametrize(("accuracy", "count"), [(0.7, 60), (0.95, 100), (0.995, 100)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(accuracy, count):
    """Five classes; `bench/intervals.py` simulates more. 95 % of 300 evaluations are 285, with a deviation of 4."""
    truth = np.full((5, 5), (1 - accuracy) / 20)
    np.fill_diagonal(truth, accuracy / 5)
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(count, truth.ravel(), 300).reshape(-1, 5, 5)
    for _, interval in INTERVALS:
        ends = np.array([interval(matrix) for matrix in drawn])
        held = (ends[:, 0] <= accuracy) & (accuracy <= ends[:, 1])
        assert held.sum() > 270


def test_precision_has_an_interval_where_the_class_was_predicted():
    rows = per_class_figures(np.array([[5, 1, 0], [0, 4, 0], [2, 0, 0]]))
    assert [r["precision_ci95"] for r in rows] == [wilson(5, 7), wilson(4, 5), None]
