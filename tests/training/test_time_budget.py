"""Shares of time: never negative, never more than there is, and infinite time stays infinite."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_time import ManualClock
from foveal.clock import Deadline
from foveal.training.time_budget import (
    EVALUATION_SECONDS,
    EVALUATION_SHARE,
    FINETUNE_EVALUATION_SHARE,
    FIRST_PART,
    MASK_SCORING_SECONDS,
    READING_SHARE,
    Allotment,
    TimeBudget,
    reading_share,
    second_part_steps,
    steps_that_fit,
)

SECONDS = st.floats(0, 1e6)
BUDGETS = st.floats(0.01, 1e6) | st.just(math.inf)
SHARES = st.floats(0, 1)
CLOCKS = st.builds(ManualClock, budget=BUDGETS, now=SECONDS)
DEADLINES = st.builds(Deadline, CLOCKS, SECONDS)


def about(seconds):
    """Apart from rounding of numbers up to the budget's size."""
    return pytest.approx(seconds, rel=1e-9, abs=1e-6)


@given(CLOCKS, st.integers(0, 100_000), st.floats(0, 1))
def test_a_run_reserves_time_for_evaluation_but_trains_in_any_case(clock, images, scoring):
    budget = TimeBudget.of_run(clock, images, scoring)
    assert 0 <= budget.evaluation <= EVALUATION_SECONDS + scoring * images
    assert budget.evaluation <= EVALUATION_SHARE * clock.budget
    for deadline in (budget.deadline, budget.finetune_deadline):
        assert 0 <= deadline.left() <= clock.left()
    assert budget.finetune_deadline.left() >= budget.deadline.left()
    fresh = TimeBudget.of_run(ManualClock(clock.budget), images, scoring)
    assert fresh.deadline.left() >= 0.5 * clock.budget > 0


def test_the_reserve_grows_with_the_masks_to_be_scored():
    assert TimeBudget.of_run(ManualClock(math.inf), 0, 1.0).evaluation == EVALUATION_SECONDS
    ample = TimeBudget.of_run(ManualClock(3600.0), 300, MASK_SCORING_SECONDS)
    assert ample.evaluation == about(EVALUATION_SECONDS + 300 * MASK_SCORING_SECONDS)
    assert TimeBudget.of_run(ManualClock(10.0), 300, MASK_SCORING_SECONDS).evaluation == 10 * EVALUATION_SHARE


@given(BUDGETS, st.integers(0, 1000))
def test_what_is_reserved_for_what_is_written_down(seconds, images):
    budget = TimeBudget.of_run(ManualClock(seconds), images, 0.1)
    written = json.loads(json.dumps(budget.to_dict(), allow_nan=False))
    reserved = {purpose: value for purpose, value in written["reserved_s"].items() if value is not None}
    assert written["budget_s"] == (seconds if seconds < math.inf else None)
    assert all(value >= 0 for value in reserved.values())
    assert budget.evaluation in reserved.values()
    assert FINETUNE_EVALUATION_SHARE * budget.evaluation in reserved.values()
    assert (READING_SHARE * seconds in reserved.values()) == (seconds < math.inf)
    assert all(0 < share < 1 for share in written["planned_share"].values())


@given(DEADLINES, SECONDS)
def test_a_deadline_is_never_negative_and_passes_when_nothing_is_left(deadline, seconds):
    assert deadline.left() >= 0
    assert deadline.passed == (deadline.left() == 0)
    assert deadline.keeping(seconds).left() <= deadline.left()
    assert deadline.keeping(0) == deadline


@given(DEADLINES, SECONDS, SECONDS)
def test_keeping_adds_up(deadline, one, other):
    twice, at_once = deadline.keeping(one).keeping(other), deadline.keeping(one + other)
    assert twice.left() == about(at_once.left())
    assert twice.left() == about(max(0.0, deadline.left() - one - other))


@given(DEADLINES, SHARES, SHARES, SECONDS)
def test_shares_multiply_and_compose_with_keeping(deadline, one, other, seconds):
    part = deadline.share(one)
    if deadline.left() == math.inf:
        assert part.left() == math.inf
        return
    assert 0 <= part.left() <= deadline.left() + 1e-6
    assert part.left() == about(one * deadline.left())
    assert part.share(other).left() == about(one * other * deadline.left())
    assert deadline.keeping(seconds).share(one).left() == about(one * deadline.keeping(seconds).left())


@given(st.floats(1, 1e6), st.integers(1, 9))
def test_equal_shares_of_what_is_left_use_all_of_it(seconds, parts):
    clock = ManualClock(seconds)
    deadline, taken = Deadline(clock), []
    for part in range(parts):
        taken.append(deadline.share(1 / (parts - part)).left())
        clock.now += taken[-1]
    assert taken == about([seconds / parts] * parts)


def test_time_runs_out_and_a_stop_takes_the_rest():
    clock = ManualClock(100.0)
    deadline = Deadline(clock, 10.0)
    assert deadline.left() == 90 and not deadline.passed
    clock.now = 90.0
    assert deadline.passed and clock.left() == 10
    endless = ManualClock()
    assert not Deadline(endless, 1e9).passed
    endless.stop()
    assert Deadline(endless).passed and Deadline(endless).share(0.5).left() == 0


@given(DEADLINES, SECONDS, SECONDS)
def test_an_allotment_leaves_time_for_what_comes_before_and_after(deadline, before, after):
    allotment = Allotment.of(deadline, before=before, after=after)
    if deadline.left() == math.inf:
        assert allotment.seconds == allotment.planned == allotment.deadline.left() == math.inf
        return
    assert allotment.seconds == about(deadline.left() - before - after)
    assert allotment.deadline.left() == about(max(0.0, deadline.left() - after))
    assert allotment.planned <= max(0.0, allotment.seconds)


@given(st.floats(0, 1e6), SECONDS, SECONDS, st.floats(1e-4, 100))
def test_the_first_part_and_the_rest_are_within_the_whole(budget, before, after, step_seconds):
    deadline = Deadline(ManualClock(budget))
    whole = Allotment.of(deadline, before=before, after=after)
    first = whole.first_part(step_seconds)
    if first == whole:
        return
    assert first.share == FIRST_PART and 0 < first.seconds < whole.seconds
    rest = whole.deadline.left() - first.deadline.left()  # what the first part leaves at its deadline
    assert rest > 0
    assert first.seconds + rest == about(whole.seconds)
    steps, _ = steps_that_fit(10**6, step_seconds, first.planned)
    assert second_part_steps(steps) * step_seconds <= rest + step_seconds
    assert (steps + second_part_steps(steps)) * step_seconds <= whole.seconds + step_seconds


@pytest.mark.parametrize(("step_seconds", "parts"), [(0.1, True), (1.0, True), (10.0, False), (1000.0, False)])
def test_a_training_of_few_steps_is_not_divided(step_seconds, parts):
    whole = Allotment.of(Deadline(ManualClock(100.0)))
    assert (whole.first_part(step_seconds) != whole) == parts


@given(st.floats(1, 3600) | st.just(math.inf), st.floats(0, 1.5))
def test_half_of_what_is_left_when_reading_begins_is_for_reading(budget, spent):
    clock = ManualClock(budget)
    before = spent * min(budget, 100)
    clock.now += before
    share = reading_share(clock)
    left = max(0.0, budget - before)
    assert share >= READING_SHARE and clock.over(share=share) is (left <= 0)
    if left and budget < math.inf:
        assert share * budget == pytest.approx(before + READING_SHARE * left)


def test_the_first_part_of_endless_time_is_endless_too():
    """A replayed run has no deadline, and plans as the first one did."""
    first = Allotment.of(Deadline(ManualClock())).first_part(1.0)
    assert first.share == FIRST_PART
    assert first.seconds == first.planned == first.deadline.left() == math.inf


@given(st.integers(1, 10**6))
def test_a_second_part_has_at_least_a_step_and_the_share_that_the_first_part_leaves(first):
    second = second_part_steps(first)
    assert second >= 1
    assert first / (first + second) == pytest.approx(FIRST_PART, abs=1 / (first + second))


@given(st.integers(1, 10**6), st.floats(1e-4, 1e3), st.floats(-100, 1e6) | st.just(math.inf))
def test_the_steps_fit_wherever_one_does_and_no_more_would(full, step_seconds, seconds):
    steps, reason = steps_that_fit(full, step_seconds, seconds)
    assert 1 <= steps <= full and reason
    if step_seconds <= seconds:
        assert steps * step_seconds <= seconds * (1 + 1e-9)
    if steps < full:
        assert (steps + 1) * step_seconds > seconds * (1 - 1e-9)


@pytest.mark.parametrize(("step_seconds", "seconds"), [(0.0, 0.0), (0.0, math.inf), (1.0, math.inf)])
def test_where_time_is_not_limited_all_steps_fit(step_seconds, seconds):
    assert steps_that_fit(77, step_seconds, seconds)[0] == 77
