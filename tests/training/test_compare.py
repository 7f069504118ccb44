"""Paired comparison: a real gain is seen, chance is not taken for one; whole groups are held out."""

from functools import cache

import numpy as np
import pytest

from foveal.data.targets.labels import Labels
from foveal.training.compare import Comparison, LabelEvidence, MaskEvidence, hold_out
from foveal.values import SplitRecord
from pictures import record


def predictions(n, accuracy, generator, classes=5, margin=3.0):
    labels = np.arange(n) % classes
    logits = generator.normal(0, 1, (n, classes)).astype(np.float32)
    predicted = np.where(generator.random(n) < accuracy, labels, (labels + 1) % classes)
    logits[np.arange(n), predicted] += margin
    return logits, labels


@cache
def placed(i):
    return SplitRecord(record(i), "train", str(i))


def evidence(logits, labels, first=0):
    records = [placed(first + i) for i in range(len(labels))]
    return LabelEvidence.of(records, logits, labels)


def test_the_figures_are_those_of_a_paired_comparison():
    generator = np.random.default_rng(0)
    a, labels = predictions(300, 0.9, generator)
    b, _ = predictions(300, 0.8, generator)
    comparison = evidence(a, labels).compare_to(evidence(b, labels))
    accuracy, log_loss = comparison.gains
    right = [(x.argmax(axis=1) == labels).astype(float) for x in (a, b)]
    assert comparison.n == 300
    assert accuracy.value == pytest.approx(float((right[0] - right[1]).mean()))
    assert accuracy.std_error == pytest.approx(float((right[0] - right[1]).std()) / 300**0.5)
    assert log_loss.value > 0 and comparison.sum_of_z > 3
    assert comparison.sum_of_z == pytest.approx(sum(g.value / g.std_error for g in comparison.gains))
    back = evidence(b, labels).compare_to(evidence(a, labels))
    assert back.gains[0].value == -accuracy.value and back.sum_of_z == pytest.approx(-comparison.sum_of_z)
    assert "300" in str(comparison) and all(gain.metric in str(comparison) for gain in comparison.gains)


def test_only_images_that_both_predicted_count():
    logits, labels = predictions(50, 0.9, np.random.default_rng(1))
    some = evidence(logits[:20], labels[:20])
    assert some.compare_to(evidence(logits, labels)).n == 20
    others = evidence(logits, labels, first=1000)
    for comparison in (some.compare_to(others), some.compare_to(None), some.compare_to(MaskEvidence({}, {}))):
        assert comparison == Comparison(0) and comparison.sum_of_z == 0


def test_how_confident_a_model_is_does_not_count():
    logits, labels = predictions(200, 0.85, np.random.default_rng(2))
    accuracy, log_loss = evidence(3 * logits, labels).compare_to(evidence(logits, labels)).gains
    assert accuracy.value == 0 and abs(log_loss.value) < 0.02


def test_two_models_of_one_quality_are_rarely_told_apart():
    """Simulated: with no difference the sum of two correlated z-values seldom reaches 4."""
    generator, apart = np.random.default_rng(3), 0
    for _ in range(200):
        a, labels = predictions(150, 0.85, generator)
        b, _ = predictions(150, 0.85, generator)
        apart += abs(evidence(a, labels).compare_to(evidence(b, labels)).sum_of_z) > 4
    assert apart <= 14  # 4 is two standard deviations when the two z-values agree wholly


def test_whole_groups_of_all_classes_are_held_out():
    records = [SplitRecord(record(i, "abc"[i // 3 % 3]), "train", f"g{i // 3}") for i in range(150)]
    held = hold_out(records, Labels(), seed=0)
    assert 0.15 <= held.mean() <= 0.25
    assert all(len({held[i], held[i + 1], held[i + 2]}) == 1 for i in range(0, 150, 3))
    assert {p.record.label for p, out in zip(records, held, strict=True) if out} == {"a", "b", "c"}
    assert np.array_equal(held, hold_out(records, Labels(), seed=0))
    assert not hold_out(records[:3], Labels(), seed=0).any()
