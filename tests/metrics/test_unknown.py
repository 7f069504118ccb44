"""Unknown images: p-values that hold what they promise, and scores that see new classes and new kinds of image."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.metrics.unknown import (
    SCORES,
    FoldScores,
    UnknownDetector,
    entropy,
    entropy_detector,
    fit_detectors,
    group_weights,
    groups_needed,
)

WIDTH = 24


def clusters(classes, n, seed=0, width=WIDTH):
    """Features and labels of classes that lie around directions of their own."""
    generator = np.random.default_rng(seed)
    centres = 6 * np.random.default_rng(7).normal(size=(20, width))
    labels = np.repeat(classes, n)
    return (centres[labels] + generator.normal(size=(len(labels), width))).astype(np.float32), labels


def fitted(classes=(0, 1, 2, 3), n=40, seed=0):
    features, labels = clusters(classes, n, seed)
    folds = np.tile(np.arange(5), len(labels) // 5)
    return fit_detectors(features, labels, folds, [str(i) for i in range(len(labels))])


@pytest.fixture(scope="module")
def detectors():
    return fitted()


def p_value(scores, groups, new):
    """Of a new score, by scores and their groups."""
    fold = FoldScores.of(np.array(scores, np.float32), group_weights(groups))
    return (1 + fold.groups_above(np.array([new], np.float32))[0]) / (len(set(groups)) + 1)


@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4), min_size=2, max_size=9), st.floats(0.01, 1))
@settings(max_examples=200, deadline=None)
def test_p_values_of_exchangeable_groups_are_super_uniform(groups, level):
    """Each group takes the part of the new one: a p-value under `level` is no more frequent than that."""
    under = 0.0
    for i, left in enumerate(groups):
        rest = [(score, str(k)) for k, group in enumerate(groups) if k != i for score in group]
        scores, names = zip(*rest, strict=True)
        under += np.mean([p_value(scores, names, new) <= level + 1e-9 for new in left])
    assert under <= level * len(groups) + 1e-6


def test_a_p_value_is_the_rank_among_all():
    scores = np.random.default_rng(0).permutation(99).astype(np.float32)
    names = [str(i) for i in range(99)]
    assert p_value(scores, names, 98.5) == pytest.approx(0.01)
    assert p_value(scores, names, 98.0) == pytest.approx(0.02)
    assert p_value(scores, names, -1.0) == pytest.approx(1.0)


@pytest.mark.parametrize(("rate", "groups"), [(0.05, 19), (0.01, 99), (0.5, 1), (0.3, 3)])
def test_so_many_groups_are_needed_to_call_anything_unknown(rate, groups):
    assert groups_needed(rate) == groups
    sure, unsure = np.array([[9.0, 0.0]], np.float32), np.zeros((1, 2), np.float32)
    enough, short = (
        entropy_detector(np.repeat(sure, n, axis=0), list(map(str, range(n)))) for n in (groups, groups - 1)
    )
    assert enough.p_values(unsure, unsure)[0] <= rate
    assert groups == 1 or short.p_values(unsure, unsure)[0] > rate


@pytest.mark.parametrize("score", SCORES)
def test_known_images_pass_and_strangers_are_refused(detectors, score):
    detector = detectors[score]
    known, _ = clusters((0, 1, 2, 3), 250, seed=1)
    p = detector.p_values(known, known)
    alarms = int((p <= 0.05).sum())
    assert scipy.stats.binomtest(alarms, len(p), 0.05).pvalue > 1e-4 or alarms < 0.05 * len(p)
    new_class, _ = clusters((9,), 100, seed=2)
    noise = np.random.default_rng(3).normal(size=(100, WIDTH)).astype(np.float32)
    for strange in (new_class, noise):
        assert (detector.p_values(strange, strange) <= 0.05).mean() > 0.9


def test_the_length_of_features_does_not_matter(detectors):
    images, _ = clusters((0, 5), 30, seed=4)
    lengths = np.random.default_rng(5).uniform(0.1, 9, (len(images), 1)).astype(np.float32)
    for detector in detectors.values():
        same = detector.p_values(images * lengths, images)
        assert np.abs(same - detector.p_values(images, images)).max() <= 2 / (detector.groups + 1)


def test_a_copied_group_changes_no_p_value():
    features, labels = clusters((0, 1, 2), 20)
    folds = np.tile(np.arange(5), 12)
    names = [str(i) for i in range(60)]
    plain = fit_detectors(features, labels, folds, names)["residual"]
    scores = [FoldScores.of(np.repeat(f.scores, 3), np.full(3 * len(f.scores), 1 / 3)) for f in plain.folds]
    tripled = UnknownDetector("residual", tuple(scores), plain.subspaces)
    new, _ = clusters((0, 8), 20, seed=1)
    assert tripled.groups == plain.groups == 60
    assert tripled.p_values(new, new) == pytest.approx(plain.p_values(new, new), abs=1e-5)


@pytest.mark.parametrize("classes", [(0,), (0, 1)])
def test_one_or_two_classes_are_enough_to_tell_noise(classes):
    for detector in fitted(classes).values():
        known, noise = clusters(classes, 60, seed=1)[0], np.random.default_rng(2).normal(size=(60, WIDTH))
        assert (detector.p_values(known, known) <= 0.05).mean() < 0.25
        assert (detector.p_values(noise, noise) <= 0.05).mean() > 0.75


def test_entropy_is_scipys_and_unsure_answers_are_refused():
    logits = np.random.default_rng(0).normal(size=(200, 4), scale=30).astype(np.float32)
    powers = scipy.special.softmax(logits.astype(np.float64), axis=1)
    assert entropy(logits) == pytest.approx(scipy.stats.entropy(powers, axis=1), abs=1e-5)
    detector = entropy_detector(logits, [str(i) for i in range(200)])
    unsure, sure = np.zeros((1, 4), np.float32), np.array([[99, 0, 0, 0]], np.float32)
    assert detector.p_values(unsure, unsure)[0] < 0.01 and detector.p_values(sure, sure)[0] > 0.5


def test_tensors_give_the_same_answers(detectors):
    new, _ = clusters((0, 1, 9), 20, seed=6)
    for detector in (*detectors.values(), entropy_detector(new, [str(i) for i in range(60)])):
        again = UnknownDetector.of_tensors(detector.score, detector.tensors())
        assert np.array_equal(again.p_values(new, new), detector.p_values(new, new))


@pytest.mark.parametrize(
    "edit",
    [
        lambda t: t.pop("scores"),
        lambda t: t.pop("within"),
        lambda t: t.update(weights=t["weights"][1:]),
        lambda t: t.update(images=t["images"][1:]),
        lambda t: t.update(images=t["images"].astype(np.float32)),
        lambda t: t.update(centre=t["centre"][:, 1:]),
        lambda t: t.update(means=t["means"][0]),
        lambda t: t.update(directions=t["directions"][:2]),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused(detectors, edit):
    tensors = dict(detectors["residual"].tensors())
    edit(tensors)
    with pytest.raises((KeyError, ValueError)):
        UnknownDetector.of_tensors("residual", tensors)
