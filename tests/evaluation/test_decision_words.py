"""Decisions in words: no raw JSON, nothing lost."""

import pytest

from foveal import decisions
from foveal.evaluation.decision_words import TITLES, in_words


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("hflip", False, "no"),
        ("frozen/skip", "", "yes"),
        ("frozen/skip", "no time", "no: no time"),
        ("feature_seconds", 0.0034, "3.4 ms"),
        ("scratch/epoch_seconds", 75.0, "1 min 15 s"),
        ("device", {"name": "cpu", "precision": "fp32", "threads": 2}, "name cpu, precision fp32, threads 2"),
        ("a/schedule_changes", [[0, 1, 2], [0, 3, 4]], "0, 1, 2; 0, 3, 4"),
        ("settings", {}, "–"),
        ("of_tomorrow", 1.23456789, "1.235"),
    ],
)
def test_a_value_is_written_for_a_person(name, value, shown):
    (decided,) = in_words({name: {"value": value, "reason": "why"}})
    assert (decided.value, decided.reason) == (shown, "why")


def test_those_of_the_run_come_first_and_a_reason_is_not_said_twice():
    made = {
        "a/keep": {"value": True, "reason": "r"},
        "b/skip": {"value": "late", "reason": "late"},
        "engine": {"value": "e", "reason": "r"},
        "a/steps": {"value": 3, "reason": "r"},
    }
    found = in_words(made)
    assert [(d.subject, d.reason) for d in found] == [("", "r"), ("a", "r"), ("a", "r"), ("b", "")]


def test_every_kind_of_decision_has_a_title():
    kinds = {d.kind for d in vars(decisions).values() if isinstance(d, decisions.Decision)}
    assert kinds == set(TITLES)
