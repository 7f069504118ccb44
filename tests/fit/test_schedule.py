"""The rate ends at zero however often the machine stalls, and a cut is made again where it was made."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.fit.schedule import Schedule


def test_up_to_the_peak_and_down_to_zero():
    line = [Schedule(100, 0.2).share(s) for s in range(100)]
    assert max(line) == pytest.approx(1.0, abs=0.03) and line.index(max(line)) in (19, 20)
    assert line[0] < 0.03 and line[-1] < 0.01
    assert line == sorted(line[:20]) + sorted(line[20:], reverse=True)
    cosine = Schedule(100, 0.2, cosine=True)
    way = (60.5 / 100 - 0.2) / 0.8
    assert cosine.share(60) == pytest.approx((1 + math.cos(math.pi * way)) / 2)


def test_a_stall_shortens_what_is_left_and_says_so_before_it_acts():
    heard = []
    schedule = Schedule(100, 0.1, on_cut=lambda cuts: heard.append(list(cuts)))
    before = schedule.share(40)
    assert not schedule.fit_into(60.0, 40, 1.0)  # it fits
    assert schedule.fit_into(30.0, 40, 1.0)
    assert heard == [[(0, 40, 67)]] and schedule.end == 67
    assert schedule.share(39) == Schedule(100, 0.1).share(39)
    assert schedule.share(40) == pytest.approx(before, abs=0.02)
    assert schedule.share(66) < 0.02


def test_a_cut_counts_in_its_own_attempt_and_from_its_own_step_on():
    schedule = Schedule(100, 0.1)
    schedule.fit_into(30.0, 40, 1.0)
    assert [schedule.end_before(step) for step in (40, 41)] == [100, 67]
    schedule.attempt = 1
    assert schedule.end == 100 and schedule.share(50) == Schedule(100, 0.1).share(50)
    schedule.fit_into(20.0, 10, 1.0)
    assert schedule.end == 28 and schedule.share(27) < 0.05
    assert [c[0] for c in schedule.cuts] == [0, 1]


def test_a_disturbance_that_is_over_gives_the_steps_back_but_no_more_than_were_planned():
    schedule = Schedule(100, 0.1)
    schedule.fit_into(30.0, 40, 1.0)
    before = schedule.share(50)
    assert not schedule.fit_into(19.0, 50, 1.0)
    assert schedule.fit_into(30.0, 50, 1.0) and schedule.end == 77
    assert schedule.share(50) == pytest.approx(before, abs=0.03)
    assert schedule.fit_into(1000.0, 60, 1.0) and schedule.end == 100
    assert not schedule.fit_into(1000.0, 70, 1.0)
    assert schedule.share(99) < 0.02


def test_a_machine_quicker_than_it_was_measured_makes_more_steps_up_to_all():
    schedule = Schedule(100, 0.1, most=150)
    before = schedule.share(40)
    assert not schedule.fit_into(65.0, 40, 1.0)  # nearly what is needed
    assert schedule.fit_into(80.0, 40, 1.0) and schedule.end == 114
    assert schedule.share(40) == pytest.approx(before, abs=0.02)
    assert schedule.fit_into(1000.0, 60, 1.0) and schedule.end == 150
    assert schedule.share(149) < 0.02
    assert not schedule.fit_into(1000.0, 150, 1.0)  # it is over, and its rate is zero
    assert not Schedule(100, 0.1).fit_into(1000.0, 40, 1.0)


@given(
    most=st.integers(0, 3000),
    steps=st.integers(20, 2000),
    warmup=st.floats(0, 0.5),
    cosine=st.booleans(),
    stalls=st.lists(st.tuples(st.floats(0.05, 0.9), st.floats(0.1, 3.0)), max_size=6),
)
def test_any_stalls_leave_a_rate_that_rises_once_and_falls_to_zero(most, steps, warmup, cosine, stalls):
    schedule, at = Schedule(steps, warmup, cosine, most=most), 0
    for where, left in stalls:
        at += int((schedule.end - at) * where)
        schedule.fit_into(left * (schedule.end - at), at, 1.0)
    assert schedule.end <= max(steps, most)
    shares = [schedule.share(s) for s in range(schedule.end)]
    peak = shares.index(max(shares))
    assert all(a <= b + 1e-9 for a, b in pairwise(shares[: peak + 1]))
    assert all(a >= b - 1e-9 for a, b in pairwise(shares[peak:]))
    assert 0 <= shares[-1] <= 1 and schedule.share(schedule.end) == pytest.approx(0.0, abs=1e-9)
    again = Schedule(steps, warmup, cosine, list(schedule.cuts))
    assert [again.share(s) for s in range(again.end)] == shares
