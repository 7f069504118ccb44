"""Strength by cross-validation, in folds that tear no group apart."""

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss

from foveal.clock import Clock
from foveal.fit.head import FOLDS, STRENGTHS, cross_validate, fold_numbers


def noisy(k=3, each=40, width=10, spread=2.0, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(k), each)
    points = generator.normal(size=(k, width))[labels] + spread * generator.normal(size=(len(labels), width))
    return points.astype(np.float32)[None], labels.astype(np.int64)


def alone(labels):
    return [f"g{i}" for i in range(len(labels))]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 25)), min_size=3, max_size=80),
    st.integers(0, 5),
)
@settings(max_examples=50, deadline=None)
def test_no_group_is_torn_over_folds(pictures, seed):
    labels = np.array([label for label, _ in pictures])
    groups = [f"g{g}" for _, g in pictures]
    folds = fold_numbers(labels, groups, seed)
    if folds is None:
        return
    for name in set(groups):
        assert len({f for f, g in zip(folds, groups, strict=True) if g == name}) == 1
    count = folds.max() + 1
    assert set(folds) == set(range(count))
    assert 2 <= count <= FOLDS
    for k in range(count):
        assert set(labels[folds != k]) == set(labels)


def test_copies_in_one_group_can_not_be_learned_by_heart():
    """Four copies of each picture, labels by chance: whoever sees a copy knows the answer."""
    generator = np.random.default_rng(0)
    points = np.repeat(generator.normal(size=(60, 200)), 4, axis=0).astype(np.float32)[None]
    labels = np.repeat(generator.permutation(np.arange(60) % 2), 4)
    honest = cross_validate(points, labels, [f"g{i // 4}" for i in range(240)], seed=0, clock=Clock())
    fooled = cross_validate(points, labels, alone(labels), seed=0, clock=Clock())
    assert honest.accuracy < 0.7
    assert fooled.accuracy > 0.95


def test_the_figures_are_those_of_scikit_learn():
    views, labels = noisy()
    found = cross_validate(views, labels, alone(labels), seed=0, clock=Clock())
    assert found.probabilities.shape == (120, 3)
    assert found.probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert found.accuracy == accuracy_score(labels, found.probabilities.argmax(axis=1))
    sums = found.probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    assert found.log_loss == pytest.approx(log_loss(labels, found.probabilities / sums), rel=1e-4)


def test_the_strength_of_least_log_loss_is_chosen_from_those_tried():
    views, labels = noisy(spread=3.0)
    found = cross_validate(views, labels, alone(labels), seed=0, clock=Clock())
    tried = [strength for strength, _, _ in found.tried]
    assert tuple(tried) == STRENGTHS[: len(tried)]
    best = min(found.tried, key=lambda t: t[2])
    assert (found.strength, found.accuracy, found.log_loss) == best


def test_hard_problems_want_stronger_regularisation_than_easy_ones():
    hard = cross_validate(*noisy(spread=6.0), alone(range(120)), seed=0, clock=Clock())
    easy = cross_validate(*noisy(spread=0.7), alone(range(120)), seed=0, clock=Clock())
    assert hard.strength < easy.strength
    assert hard.accuracy < easy.accuracy


def test_it_predicts_pictures_it_has_not_seen():
    """The out-of-fold accuracy is near that of a head on fresh pictures."""
    from foveal.fit.head import fit_head

    views, labels = noisy(each=150, seed=3)
    half = np.arange(450) % 2 == 0
    found = cross_validate(views[:, half], labels[half], alone(labels[half]), seed=0, clock=Clock())
    fresh = fit_head(views[:, half], labels[half], found.strength).logits(views[0, ~half]).argmax(axis=1)
    assert abs(found.accuracy - (fresh == labels[~half]).mean()) < 0.1


def test_seed_names_the_folds():
    views, labels = noisy(spread=3.0)
    zero, again, one = (cross_validate(views, labels, alone(labels), seed=s, clock=Clock()) for s in (0, 0, 1))
    assert (zero.probabilities == again.probabilities).all()
    assert (zero.probabilities != one.probabilities).any()


def test_views_of_a_picture_stay_in_its_fold():
    """With a second view that is a copy, nothing can be learned from it."""
    generator = np.random.default_rng(1)
    points = generator.normal(size=(80, 150)).astype(np.float32)
    labels = generator.permutation(np.arange(80) % 2)
    found = cross_validate(np.stack([points, points]), labels, alone(labels), seed=0, clock=Clock())
    assert found.accuracy < 0.75


def test_turning_many_features_into_few_directions_changes_nothing(monkeypatch):
    """Sixty pictures span sixty directions: 512 of 600 hold all there is, and L2 minds no rotation."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(2), 30)
    points = (generator.normal(size=(60, 600)) + 0.6 * labels[:, None] * (np.arange(600) < 40)).astype(np.float32)
    monkeypatch.setattr("foveal.fit.head.STRENGTHS", (1.0, 4.0, 16.0, 64.0))  # weaker ones are alike
    turned = cross_validate(points[None], labels, alone(labels), seed=0, clock=Clock())
    monkeypatch.setattr("foveal.fit.head._DIRECTIONS", 600)
    plain = cross_validate(points[None], labels, alone(labels), seed=0, clock=Clock())
    assert turned.strength == plain.strength
    assert turned.probabilities == pytest.approx(plain.probabilities, abs=0.03)
    assert plain.probabilities.std() > 0.1


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        ([0, 0, 0, 1], ["a", "b", "c", "d"]),
        ([0, 0, 1, 1], ["a", "b", "c", "c"]),
        ([0, 0, 0, 0, 1, 1], ["a", "b", "c", "d", "a", "b"]),
    ],
    ids=["one picture", "one group", "led by another class"],
)
def test_too_few_pictures_for_two_folds(labels, groups):
    points = np.random.default_rng(0).normal(size=(1, len(labels), 3)).astype(np.float32)
    assert cross_validate(points, np.array(labels), groups, seed=0, clock=Clock()) is None


def test_two_pictures_a_class_make_two_folds():
    points = np.random.default_rng(0).normal(size=(1, 4, 3)).astype(np.float32)
    found = cross_validate(points, np.array([0, 0, 1, 1]), list("abcd"), seed=0, clock=Clock())
    assert found.probabilities.shape == (4, 2)


def test_no_time_for_even_one_strength():
    views, labels = noisy()
    assert cross_validate(views, labels, alone(labels), seed=0, clock=Clock(5.0), reserve=1e6) is None


def test_when_the_time_is_up_the_best_so_far_is_taken():
    class Once(Clock):
        asked = 0

        def left(self, *, reserve=0.0):
            self.asked += 1
            return 1.0 if self.asked == 1 else 0.0

    views, labels = noisy(spread=0.5)
    found = cross_validate(views, labels, alone(labels), seed=0, clock=Once())
    assert [t[0] for t in found.tried] == [STRENGTHS[0]]
    assert found.strength == STRENGTHS[0]


@pytest.mark.parametrize(("left", "tried"), [(25.0, 1), (31.0, len(STRENGTHS))])
def test_no_strength_is_tried_that_would_leave_no_time_for_the_head(monkeypatch, left, tried):
    """Each takes 10 s here, and a head on everything twice as long as one of them."""
    seconds = count(0, 10)
    monkeypatch.setattr("foveal.fit.head.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    views, labels = noisy(spread=0.5)
    clock = SimpleNamespace(left=lambda reserve: left)
    assert len(cross_validate(views, labels, alone(labels), seed=0, clock=clock).tried) == tried
