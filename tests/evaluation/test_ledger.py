"""Evaluations on a test set are counted, by the contents of its files."""

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.evaluation.ledger import record_test_evaluation as record
from foveal.evaluation.ledger import test_evaluations as evaluations
from foveal.evaluation.ledger import test_set_key as key_of

pytestmark = pytest.mark.usefixtures("fresh_state")


def ledger(folder):
    return folder / "test_looks.jsonl"


def test_evaluations_are_counted_for_each_test_set():
    assert evaluations("a") == 0
    assert [record("a", run="/r1"), record("b", run="/r2"), record("a", run="/r1"), record("a", run="/r3")] == [
        1,
        1,
        2,
        3,
    ]
    assert (evaluations("a"), evaluations("b"), evaluations("c")) == (3, 1, 0)


@given(st.lists(st.text("0123456789abcdef", min_size=4, max_size=4), max_size=8), st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_key_is_of_the_contents_in_no_order(hashes, random):
    shuffled = list(hashes)
    random.shuffle(shuffled)
    assert key_of(shuffled) == key_of(hashes)
    assert key_of([*hashes, "ffff"]) != key_of(hashes)


def test_two_runs_that_end_together_are_both_counted():
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: record("a", run=f"/r{i}"), range(60)))
    assert evaluations("a") == 60


def test_odd_run_names(fresh_state):
    assert record("a", run="/caf\udce9/写\n") == 1
    assert ledger(fresh_state).read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        b"half a li\n",
        b"[1, 2]\n",
        b"\n",
        b"null\n",
        b"\xff\xfe\0\n",
        b"[" * 90_000 + b"\n",
        b'{"key": NaN}\n',
        b"5\n",
    ],
)
def test_a_damaged_line_costs_no_other(fresh_state, line):
    record("a", run="/r")
    with ledger(fresh_state).open("ab") as handle:
        handle.write(line)
    assert record("a", run="/r") == 2


def test_a_line_that_a_crash_cut_short_does_not_swallow_the_next(fresh_state):
    record("a", run="/r")
    with ledger(fresh_state).open("ab") as handle:
        handle.write(b'{"key": "a", "ru')
    assert record("a", run="/r") == 2


def test_a_folder_in_its_place_is_moved_aside(fresh_state):
    ledger(fresh_state).mkdir(parents=True)
    (ledger(fresh_state) / "mine").write_text("kept")
    assert evaluations("a") == 0
    assert [record("a", run="/r"), record("a", run="/r")] == [1, 2]
    assert [f.read_text() for f in fresh_state.rglob("mine")] == ["kept"]


@pytest.mark.parametrize("place", ["/proc/nope/ledger", "file"])
def test_a_state_folder_that_can_not_be_written_costs_the_count_only(place, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FOVEAL_STATE", str(tmp_path / place) if place == "file" else place)
    with caplog.at_level(logging.WARNING, logger="foveal"):
        assert record("a", run="/r") == 1
    assert "FOVEAL_STATE" in caplog.text
