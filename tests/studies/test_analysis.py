"""Verdicts from numbers: intervals, power, and the cost of repeated analyses."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from foveal.studies.framework import NOT_SUPPORTED, SUPPORTED, UNDECIDED, Contrast, Equal, Results, Study
from foveal.studies.framework.analysis import (
    alpha_at,
    analyse,
    check_equal,
    combine_verdicts,
    judge,
    power,
    seeds_for,
)
from foveal.studies.framework.results import t_interval
from studies.toy import CONTRAST, deterministic, toy

SAME = replace(CONTRAST, kind="same")


def around(mean, sd, n=10):
    """`n` values with exactly this mean and deviation."""
    values = np.random.default_rng(n).normal(size=n)
    return mean + sd * (values - values.mean()) / values.std(ddof=1)


def rows(a, b):
    each = [("a", v, s) for s, v in enumerate(a)] + [("b", v, s) for s, v in enumerate(b)]
    return [{"arm": arm, "seed": s, "seconds": 1.0, "measures": {"accuracy": v}} for arm, v, s in each]


def test_the_interval_is_scipys():
    values = around(0.3, 0.2)
    known = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((known.low, known.high))
    assert t_interval(values[:1]) == (None, None)


@pytest.mark.parametrize(
    ("mean", "sd", "verdict"),
    [
        (0.03, 0.01, SUPPORTED),
        (0.015, 0.01, SUPPORTED),
        (0.01, 0.01, NOT_SUPPORTED),  # there is a difference, but smaller than is of interest
        (0.0, 0.01, NOT_SUPPORTED),
        (-0.1, 0.01, NOT_SUPPORTED),
        (0.01, 0.05, UNDECIDED),
    ],
)
def test_more(mean, sd, verdict):
    assert judge(around(mean, sd), CONTRAST).verdict == verdict


@pytest.mark.parametrize(
    ("mean", "sd", "verdict"),
    [(0.0, 0.01, SUPPORTED), (0.04, 0.01, NOT_SUPPORTED), (-0.04, 0.01, NOT_SUPPORTED), (0.02, 0.01, UNDECIDED)],
)
def test_the_same(mean, sd, verdict):
    assert judge(around(mean, sd), SAME).verdict == verdict


def test_ratios_are_judged_as_logarithms_and_shown_as_factors():
    ratio = Contrast("faster", "", ((1, "a", "accuracy"), (-1, "b", "accuracy")), min_effect=1.1, ratio=True)
    found = judge(Results(rows([2.0, 2.2, 4.0], [1.0, 1.1, 2.0]), "ab").values(ratio), ratio)
    assert found.mean == pytest.approx(2) and found.low == pytest.approx(2) and found.verdict == SUPPORTED


def test_differences_of_differences():
    crossed = replace(
        CONTRAST, terms=((1, "a", "accuracy"), (-1, "b", "accuracy"), (-1, "a", "accuracy"), (2, "b", "accuracy"))
    )
    assert Results(rows([5.0, 6.0], [1.0, 2.0]), "ab").values(crossed).tolist() == [1.0, 2.0]


def test_only_whole_seeds_count():
    some = rows([1.0, 2.0, 3.0], [1.0, 2.0])
    assert Results(some, "ab").seeds == [0, 1]
    assert Results([], "ab").seeds == []


def test_nothing_is_said_of_one_seed():
    found = judge(np.array([0.5]), CONTRAST)
    assert found.verdict == UNDECIDED and found.mean == 0.5 and found.low is None and found.more is None


def test_missing_seeds_bring_a_decision():
    values = around(0.012, 0.03, 6)
    found = judge(values, CONTRAST)
    assert found.verdict == UNDECIDED and found.more is not None
    n = 6 + found.more
    assert power(n, found.sd, 0.012) >= 0.8 > power(n - 1, found.sd, 0.012)


def test_power_is_that_of_repeats():
    rng = np.random.default_rng(0)
    for n, sd, effect, kind in ((6, 0.01, 0.012, "more"), (12, 0.02, 0.02, "same")):
        contrast = replace(CONTRAST, kind=kind, min_effect=effect)
        drawn = rng.normal(effect if kind == "more" else 0.0, sd, (400, n))
        found = np.mean([judge(v, contrast).verdict == SUPPORTED for v in drawn])
        assert found == pytest.approx(power(n, sd, effect, kind=kind), abs=0.06)


def test_seeds_grow_with_spread_and_with_the_number_of_contrasts():
    one, wide = seeds_for([(CONTRAST, 0.02)]), seeds_for([(CONTRAST, 0.04)])
    both = seeds_for([(CONTRAST, 0.02)] * 2)
    assert one < both < wide
    assert seeds_for([(CONTRAST, 0.0)], fewest=5) == 5


def test_looks_together_err_in_at_most_five_per_cent():
    assert alpha_at(1) == 0.05 and sum(alpha_at(k) / 2 for k in range(1, 60)) <= 0.05 + 1e-12
    rng, found = np.random.default_rng(1), 0
    for _ in range(200):
        values = rng.normal(0, 0.02, 40)
        found += any(
            judge(values[:n], CONTRAST, alpha=alpha_at(k)).low > 0 for k, n in enumerate((5, 10, 20, 40), 1)
        )
    assert found <= 0.05 * 200


def test_a_claim_is_as_good_as_its_weakest_part():
    assert combine_verdicts([SUPPORTED, UNDECIDED]) == UNDECIDED
    assert combine_verdicts([SUPPORTED, UNDECIDED, NOT_SUPPORTED]) == NOT_SUPPORTED
    assert combine_verdicts([SUPPORTED]) == SUPPORTED and combine_verdicts([]) == UNDECIDED


def test_the_whole_of_it():
    study = toy()
    sizes = study.sizes(None)
    found = analyse(study, rows(around(0.8, 0.001), around(0.83, 0.001)), sizes=sizes)
    assert (
        found["verdict"] == SUPPORTED and found["notebook_claims"][0]["verdict"] == SUPPORTED and found["n"] == 10
    )
    assert found["contrasts"][0]["mean"] == pytest.approx(0.03)
    assert [(r["arm"], round(r["mean"], 3)) for r in found["summary"]] == [("a", 0.8), ("b", 0.83)]
    points = found["plot"]["series"][0]["points"]
    assert points[0]["x"] == CONTRAST.statement and points[0]["low"] <= points[0]["mean"]
    assert [value for value, _ in found["plot"]["marks"]] == [0.0, CONTRAST.min_effect]
    assert analyse(study, [], sizes=sizes)["verdict"] == UNDECIDED


def test_arms_that_cost_more_than_promised_support_nothing():
    study = toy()
    uneven = {"a": {"parameters": 1000}, "b": {"parameters": 1100}}
    assert not check_equal(Equal("parameters"), uneven).holds
    found = analyse(study, rows(around(0.8, 0.001), around(0.83, 0.001)), sizes=uneven)
    assert found["verdict"] == NOT_SUPPORTED and not found["checks"][0]["holds"]


@pytest.mark.parametrize(("holds", "verdict"), [(True, SUPPORTED), (False, NOT_SUPPORTED)])
def test_checks_need_no_statistics(holds, verdict):
    study: Study = deterministic(holds)
    assert analyse(study, rows([1.0], [1.0]), sizes={})["verdict"] == verdict


def test_no_mean_of_nothing():
    assert math.isnan(Results([], "ab").point(0, "a", "accuracy").mean)
