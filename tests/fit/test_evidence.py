"""Paired comparison: a real gain is found, chance is not taken for one; whole groups are held out."""

from types import SimpleNamespace

import numpy as np
import pytest

from foveal.fit.evidence import Evidence, compare, hold_out


def answers(n, share_right, chance, classes=5, sure=3.0):
    labels = np.arange(n) % classes
    logits = chance.normal(0, 1, (n, classes)).astype(np.float32)
    told = np.where(chance.random(n) < share_right, labels, (labels + 1) % classes)
    logits[np.arange(n), told] += sure
    return logits, labels


def evidence(logits, labels, names=None):
    names = names or [str(i) for i in range(len(labels))]
    placed = [SimpleNamespace(record=SimpleNamespace(sha256=n)) for n in names]
    return Evidence.of(placed, logits, labels)


def test_the_figures_are_those_of_a_paired_comparison():
    chance = np.random.default_rng(0)
    a, labels = answers(300, 0.9, chance)
    b, _ = answers(300, 0.8, chance)
    found = compare(evidence(a, labels), evidence(b, labels))
    right = [(x.argmax(axis=1) == labels).astype(float) for x in (a, b)]
    assert found.n == 300
    assert found.points == pytest.approx(float((right[0] - right[1]).mean()))
    assert found.points_doubt == pytest.approx(float((right[0] - right[1]).std()) / 300**0.5)
    assert found.nats > 0 and found.sum_of_z > 3
    back = compare(evidence(b, labels), evidence(a, labels))
    assert back.points == -found.points and back.sum_of_z == pytest.approx(-found.sum_of_z)


def test_only_pictures_that_both_answered_count():
    logits, labels = answers(50, 0.9, np.random.default_rng(1))
    some = evidence(logits[:20], labels[:20], [str(i) for i in range(20)])
    assert compare(some, evidence(logits, labels)).n == 20
    nobody = evidence(logits, labels, [f"other {i}" for i in range(50)])
    assert compare(some, nobody).n == 0 and compare(some, nobody).sum_of_z == 0


def test_how_sure_a_model_sounds_does_not_count():
    logits, labels = answers(200, 0.85, np.random.default_rng(2))
    found = compare(evidence(3 * logits, labels), evidence(logits, labels))
    assert found.points == 0 and abs(found.nats) < 0.02


def test_two_models_of_one_skill_are_rarely_told_apart():
    """Simulated: with no difference the sum of two correlated z-values seldom reaches 4."""
    chance, far = np.random.default_rng(3), 0
    for _ in range(200):
        a, labels = answers(150, 0.85, chance)
        b, _ = answers(150, 0.85, chance)
        far += abs(compare(evidence(a, labels), evidence(b, labels)).sum_of_z) > 4
    assert far <= 14  # 4 is two standard deviations when the two z-values agree wholly


def test_whole_groups_are_held_out():
    placed = [SimpleNamespace(group=f"g{i // 3}", record=SimpleNamespace(sha256=str(i))) for i in range(150)]
    labels = np.array([(i // 3) % 3 for i in range(150)])
    held = hold_out(placed, labels, seed=0)
    assert 0.15 <= held.mean() <= 0.25
    assert all(len({held[i], held[i + 1], held[i + 2]}) == 1 for i in range(0, 150, 3))
    assert set(labels[held]) == {0, 1, 2}
    assert np.array_equal(held, hold_out(placed, labels, seed=0))
    assert not hold_out(placed[:3], labels[:3], seed=0).any()
