"""The learning rate ends at zero however often the machine stalls, and a change is repeated where it was made."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.training.loop.lr_schedule import Schedule


def test_up_to_the_peak_and_down_to_zero():
    line = [Schedule(100, 0.2).factor(s) for s in range(100)]
    assert max(line) == pytest.approx(1.0, abs=0.03) and line.index(max(line)) in (19, 20)
    assert line[0] < 0.03 and line[-1] < 0.01
    assert line == sorted(line[:20]) + sorted(line[20:], reverse=True)
    cosine = Schedule(100, 0.2, cosine=True)
    done = (60.5 / 100 - 0.2) / 0.8
    assert cosine.factor(60) == pytest.approx((1 + math.cos(math.pi * done)) / 2)


def test_a_stall_shortens_what_is_left_and_is_recorded_before_it_takes_effect():
    recorded = []
    schedule = Schedule(100, 0.1, on_change=lambda changes: recorded.append(list(changes)))
    before = schedule.factor(40)
    assert not schedule.fit_into(60.0, 40, 1.0)  # it fits
    assert schedule.fit_into(30.0, 40, 1.0)
    assert recorded == [[(0, 40, 67)]] and schedule.end == 67
    assert schedule.factor(39) == Schedule(100, 0.1).factor(39)
    assert schedule.factor(40) == pytest.approx(before, abs=0.02)
    assert schedule.factor(66) < 0.02


def test_a_change_counts_in_its_own_attempt_and_from_its_own_step_on():
    schedule = Schedule(100, 0.1)
    schedule.fit_into(30.0, 40, 1.0)
    assert [schedule.end_before(step) for step in (40, 41)] == [100, 67]
    schedule.attempt = 1
    assert schedule.end == 100 and schedule.factor(50) == Schedule(100, 0.1).factor(50)
    schedule.fit_into(20.0, 10, 1.0)
    assert schedule.end == 28 and schedule.factor(27) < 0.05
    assert [attempt for attempt, _, _ in schedule.changes] == [0, 1]


def test_after_a_disturbance_the_steps_come_back_but_no_more_than_were_planned():
    schedule = Schedule(100, 0.1)
    schedule.fit_into(30.0, 40, 1.0)
    before = schedule.factor(50)
    assert not schedule.fit_into(19.0, 50, 1.0)
    assert schedule.fit_into(30.0, 50, 1.0) and schedule.end == 77
    assert schedule.factor(50) == pytest.approx(before, abs=0.03)
    assert schedule.fit_into(1000.0, 60, 1.0) and schedule.end == 100
    assert not schedule.fit_into(1000.0, 70, 1.0)
    assert schedule.factor(99) < 0.02


def test_a_machine_quicker_than_measured_makes_more_steps_up_to_the_maximum():
    schedule = Schedule(100, 0.1, max_steps=150)
    before = schedule.factor(40)
    assert not schedule.fit_into(65.0, 40, 1.0)  # nearly what is needed
    assert schedule.fit_into(80.0, 40, 1.0) and schedule.end == 114
    assert schedule.factor(40) == pytest.approx(before, abs=0.02)
    assert schedule.fit_into(1000.0, 60, 1.0) and schedule.end == 150
    assert schedule.factor(149) < 0.02
    assert not schedule.fit_into(1000.0, 150, 1.0)  # it is over, and its learning rate is zero
    assert not Schedule(100, 0.1).fit_into(1000.0, 40, 1.0)


@given(
    max_steps=st.integers(0, 3000),
    steps=st.integers(20, 2000),
    warmup=st.floats(0, 0.5),
    cosine=st.booleans(),
    stalls=st.lists(st.tuples(st.floats(0.05, 0.9), st.floats(0.1, 3.0)), max_size=6),
)
def test_after_any_stalls_the_learning_rate_rises_once_and_falls_to_zero(max_steps, steps, warmup, cosine, stalls):
    schedule, at = Schedule(steps, warmup, cosine, max_steps=max_steps), 0
    for where, left in stalls:
        at += int((schedule.end - at) * where)
        schedule.fit_into(left * (schedule.end - at), at, 1.0)
    assert schedule.end <= max(steps, max_steps)
    factors = [schedule.factor(s) for s in range(schedule.end)]
    peak = factors.index(max(factors))
    assert all(a <= b + 1e-9 for a, b in pairwise(factors[: peak + 1]))
    assert all(a >= b - 1e-9 for a, b in pairwise(factors[peak:]))
    assert 0 <= factors[-1] <= 1 and schedule.factor(schedule.end) == pytest.approx(0.0, abs=1e-9)
    again = Schedule(steps, warmup, cosine, list(schedule.changes))
    assert [again.factor(s) for s in range(again.end)] == factors
