"""C of the linear head by cross-validation, in folds that keep groups whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss

from fake_time import FakeTime, ManualClock
from foveal.clock import Clock, Deadline
from foveal.data.targets.folds import FOLDS, stratified_folds
from foveal.training.linear_head import STRENGTHS, cross_validate, fit_head
from foveal.training.time_budget import FINAL_FIT


def noisy(k=3, each=40, width=10, spread=2.0, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(k), each)
    points = generator.normal(size=(k, width))[labels] + spread * generator.normal(size=(len(labels), width))
    return points.astype(np.float32)[None], labels.astype(np.int64)


def alone(labels):
    return [f"g{i}" for i in range(len(labels))]


def validated(views, labels, groups=None, *, seed=0, deadline=None):
    """In stratified folds of these groups; by default each image is one of its own."""
    folds = stratified_folds(labels, groups or alone(labels), seed)
    return cross_validate(views, labels, folds, deadline=deadline or Deadline(Clock()))


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 25)), min_size=3, max_size=80),
    st.integers(0, 5),
)
@settings(max_examples=50, deadline=None)
def test_no_group_is_divided_between_folds(images, seed):
    labels = np.array([label for label, _ in images])
    groups = [f"g{g}" for _, g in images]
    folds = stratified_folds(labels, groups, seed)
    if folds is None:
        return
    for name in set(groups):
        assert len({f for f, g in zip(folds, groups, strict=True) if g == name}) == 1
    count = folds.max() + 1
    assert set(folds) == set(range(count))
    assert 2 <= count <= FOLDS
    for k in range(count):
        assert set(labels[folds != k]) == set(labels)


def test_copies_in_one_group_cannot_be_memorised():
    """Four copies of each image, labels by chance: a model that saw a copy can recall the label."""
    generator = np.random.default_rng(0)
    points = np.repeat(generator.normal(size=(60, 200)), 4, axis=0).astype(np.float32)[None]
    labels = np.repeat(generator.permutation(np.arange(60) % 2), 4)
    honest = validated(points, labels, [f"g{i // 4}" for i in range(240)])
    fooled = validated(points, labels, seed=0)
    assert honest.accuracy < 0.7
    assert fooled.accuracy > 0.95


def test_the_figures_are_those_of_scikit_learn():
    views, labels = noisy()
    chosen = validated(views, labels, seed=0)
    assert chosen.probabilities.shape == (120, 3)
    assert chosen.probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert chosen.accuracy == accuracy_score(labels, chosen.probabilities.argmax(axis=1))
    sums = chosen.probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    assert chosen.log_loss == pytest.approx(log_loss(labels, chosen.probabilities / sums), rel=1e-4)


def test_the_strength_of_least_log_loss_is_chosen_from_those_tried():
    views, labels = noisy(spread=3.0)
    chosen = validated(views, labels, seed=0)
    tried = [strength for strength, _, _ in chosen.tried]
    assert tuple(tried) == STRENGTHS[: len(tried)]
    best = min(chosen.tried, key=lambda t: t[2])
    assert (chosen.strength, chosen.accuracy, chosen.log_loss) == best


def test_hard_problems_want_stronger_regularisation_than_easy_ones():
    hard = validated(*noisy(spread=6.0))
    easy = validated(*noisy(spread=0.7))
    assert hard.strength < easy.strength
    assert hard.accuracy < easy.accuracy


def test_its_accuracy_is_that_on_new_images():
    """The out-of-fold accuracy is near that of a head on fresh images."""
    views, labels = noisy(each=150, seed=3)
    half = np.arange(450) % 2 == 0
    chosen = validated(views[:, half], labels[half])
    fresh = fit_head(views[:, half], labels[half], chosen.strength).logits(views[0, ~half]).argmax(axis=1)
    assert abs(chosen.accuracy - (fresh == labels[~half]).mean()) < 0.1


def test_the_seed_decides_the_folds():
    views, labels = noisy(spread=3.0)
    zero, again, one = (validated(views, labels, seed=s) for s in (0, 0, 1))
    assert (zero.probabilities == again.probabilities).all()
    assert (zero.probabilities != one.probabilities).any()


def test_views_of_a_image_stay_in_its_fold():
    """With a second view that is a copy, nothing can be learned from it."""
    generator = np.random.default_rng(1)
    points = generator.normal(size=(80, 150)).astype(np.float32)
    labels = generator.permutation(np.arange(80) % 2)
    chosen = validated(np.stack([points, points]), labels)
    assert chosen.accuracy < 0.75


def test_few_images_in_many_dimensions_lose_nothing_in_their_principal_directions(monkeypatch):
    """Sixty images span sixty directions, and L2 does not change under a rotation: scikit-learn on all 600 agrees."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(2), 30)
    points = (generator.normal(size=(60, 600)) + 0.6 * labels[:, None] * (np.arange(600) < 40)).astype(np.float32)
    folds = stratified_folds(labels, alone(labels), 0)
    FakeTime(monkeypatch, per_call=10.0)  # time for the strongest regularisation alone, where solvers agree
    reduced = cross_validate(points[None], labels, folds, deadline=Deadline(ManualClock(20.0)))
    assert len(reduced.tried) == 1
    standard = (points - points.mean(axis=0)) / points.std(axis=0)
    expected = np.zeros((60, 2))
    for fold in range(folds.max() + 1):
        inside = folds != fold
        model = LogisticRegression(C=reduced.strength / inside.sum(), max_iter=5000, tol=1e-8)
        expected[~inside] = model.fit(standard[inside], labels[inside]).predict_proba(standard[~inside])
    assert reduced.probabilities == pytest.approx(expected, abs=0.03)
    assert expected.std() > 0.05


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        ([0, 0, 0, 1], ["a", "b", "c", "d"]),
        ([0, 0, 1, 1], ["a", "b", "c", "c"]),
        ([0, 0, 0, 0, 1, 1], ["a", "b", "c", "d", "a", "b"]),
    ],
    ids=["one image", "one group", "led by another class"],
)
def test_too_few_images_for_two_folds(labels, groups):
    points = np.random.default_rng(0).normal(size=(1, len(labels), 3)).astype(np.float32)
    assert validated(points, np.array(labels), groups) is None


def test_two_images_a_class_make_two_folds():
    points = np.random.default_rng(0).normal(size=(1, 4, 3)).astype(np.float32)
    chosen = validated(points, np.array([0, 0, 1, 1]), list("abcd"))
    assert chosen.probabilities.shape == (4, 2)


def test_no_time_for_even_one_strength():
    assert validated(*noisy(), deadline=Deadline(ManualClock(5.0), 1e6)) is None


@pytest.mark.parametrize(("factor", "tried"), [(0.9, 1), (1.1, len(STRENGTHS))])
def test_no_strength_is_tried_that_would_leave_no_time_for_the_final_fit(monkeypatch, factor, tried):
    """Each takes 10 s here, and a fit on everything `FINAL_FIT` times as long."""
    FakeTime(monkeypatch, per_call=10.0)
    left = factor * 10.0 * (1 + FINAL_FIT)
    chosen = validated(*noisy(spread=0.5), deadline=Deadline(ManualClock(left)))
    assert [strength for strength, _, _ in chosen.tried] == list(STRENGTHS[:tried])
    assert chosen.strength in STRENGTHS[:tried]
