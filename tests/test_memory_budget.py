"""The memory ledger: every share of a budget, and what limits it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import foveal.memory_budget
from foveal.config import TrainConfig
from foveal.memory_budget import MemoryBudget

SIZES = st.integers(1 << 20, 1 << 45)


@pytest.mark.parametrize(
    ("memory", "cgroup", "total"),
    [(None, None, None), ("2GiB", None, 2 << 30), (None, 1 << 30, 1 << 30), ("2GiB", 1 << 30, 1 << 30)],
)
def test_a_budget_is_the_smaller_of_what_was_requested_and_the_limit_of_the_cgroup(
    monkeypatch, memory, cgroup, total
):
    monkeypatch.setattr(foveal.memory_budget, "cgroup_limit", lambda: cgroup)
    budget = TrainConfig(memory=memory).memory_budget
    assert budget.total == total
    assert budget.to_dict()["budget_bytes"] == total
    assert (budget.to_dict()["alarm_bytes"] is None) == (total is None)


@given(SIZES)
def test_shares_never_exceed_those_of_an_unlimited_process_and_fit_into_the_budget(total):
    budget, unlimited = MemoryBudget(total), MemoryBudget()
    for share in ("render_cache", "array", "cached_view", "kept_images", "alarm", "caches"):
        assert 0 <= getattr(budget, share) <= min(getattr(unlimited, share), total)
    assert budget.covers(total)
    assert not budget.covers(total + 1)
    assert unlimited.covers(total)


@given(SIZES, SIZES, SIZES)
def test_a_process_cannot_use_more_than_its_machine_has(total, free, resident):
    assert MemoryBudget(total).within_machine(free, resident).total == min(total, free + resident)
    assert MemoryBudget().within_machine(free, resident).total == free + resident
    assert MemoryBudget(total).within_machine(None, resident).total == total
    assert MemoryBudget().within_machine(None, resident).total is None


@given(SIZES, SIZES)
def test_a_forward_pass_gets_what_is_left_but_never_nothing(total, resident):
    share = MemoryBudget(total).forward_pass(resident)
    assert share is not None
    assert 0 < share <= total
    assert MemoryBudget().forward_pass(resident) is None
