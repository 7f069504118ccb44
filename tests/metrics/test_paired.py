"""Two classifiers on the same images: the interval of their difference, against simulations and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from foveal.metrics.paired import mean_difference, paired_difference

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def arrays(pairs):
    return (np.array(side, dtype=bool) for side in zip(*pairs, strict=True))


@given(PAIRS)
def test_swapping_the_models_swaps_the_signs(pairs):
    a, b = arrays(pairs)
    one, two = paired_difference(a, b), paired_difference(b, a)
    assert one.value == -two.value and one.p_value == two.p_value
    assert one.ci95 == pytest.approx((-two.ci95[1], -two.ci95[0]))
    assert one.ci95[0] <= one.value <= one.ci95[1] and one.ci95[0] < one.ci95[1]


@given(PAIRS)
def test_mcnemars_test_is_a_sign_test_of_what_only_one_gets_right(pairs):
    a, b = arrays(pairs)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert paired_difference(a, b).p_value == pytest.approx(expected)


@given(PAIRS, st.integers(2, 4))
@settings(max_examples=40)
def test_copies_in_one_cluster_tell_no_more_than_one_of_them(pairs, copies):
    a, b = arrays(pairs)
    alone = paired_difference(a, b)
    clusters = [str(i) for i in range(len(a)) for _ in range(copies)]
    copied = paired_difference(a.repeat(copies), b.repeat(copies), clusters)
    assert copied.clusters == len(a)
    if (a != b).any() and not (a ^ b).all():
        assert copied.design_effect == pytest.approx(copies)
        pretended = paired_difference(a.repeat(copies), b.repeat(copies))
        assert np.diff(copied.ci95) > np.diff(pretended.ci95)
        assert copied.images_for(0.05) > alone.images_for(0.05) * 0.9


def test_it_holds_the_truth_about_as_often_as_it_says():
    rng, hits, rounds = np.random.default_rng(0), 0, 600
    for _ in range(rounds):
        kind = rng.choice(4, size=150, p=[0.85, 0.03, 0.07, 0.05])  # both right, only A, only B, neither
        found = paired_difference(np.isin(kind, (0, 1)), np.isin(kind, (0, 2)))
        hits += found.ci95[0] <= 0.04 <= found.ci95[1]
    assert 0.92 <= hits / rounds <= 0.985


def test_as_many_images_as_are_asked_for_show_the_difference_in_four_of_five_comparisons():
    rng, shares = np.random.default_rng(1), [0.86, 0.03, 0.06, 0.05]

    def draw(n):
        kind = rng.choice(4, size=n, p=shares)
        return paired_difference(np.isin(kind, (0, 1)), np.isin(kind, (0, 2)))

    needed = draw(20_000).images_for(0.03)
    shown = np.mean([draw(needed).shown for _ in range(300)])
    assert 0.7 <= shown <= 0.9


def test_no_images():
    with pytest.raises(ValueError, match="no images"):
        paired_difference(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))


def test_a_mean_of_one_value_has_no_interval():
    value, (low, high) = mean_difference(np.array([0.5]), ["a"])
    assert value == 0.5 and (low, high) == (-np.inf, np.inf)
