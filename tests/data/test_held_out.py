"""What a run predicted for held-out images survives the disk, and says what the model says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal import load
from foveal.data.split.held_out import FILE_NAME, HeldOut, Predictions, read_held_out
from foveal.data.split.split_csv import read_rows
from foveal.errors import DataError

CLASSES = ("a", "b", "c")


def some(count, seed):
    rng = np.random.default_rng(seed)
    names = tuple(rng.bytes(32).hex() for _ in range(count))
    return Predictions(names, rng.dirichlet(np.ones(3), count).astype(np.float32).reshape(count, 3))


@given(st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_there_and_back(tmp_path_factory, tests, others):
    run = tmp_path_factory.mktemp("run")
    kept = HeldOut(some(tests, 0), some(others, 1))
    (run / FILE_NAME).write_bytes(kept.to_bytes())
    found = read_held_out(run, CLASSES)
    for before, after in ((kept.test, found.test), (kept.out_of_fold, found.out_of_fold)):
        assert before.sha256 == after.sha256 and (before.probabilities == after.probabilities).all()


def test_a_run_without_the_file(tmp_path):
    assert read_held_out(tmp_path, CLASSES) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no tensors",
        HeldOut(some(2, 0), some(2, 1)).to_bytes()[:-5],
        HeldOut(Predictions(("00" * 32,), np.full((1, 3), 2, np.float32)), some(1, 0)).to_bytes(),
        HeldOut(Predictions(("00" * 32,), np.full((1, 3), np.nan, np.float32)), some(1, 0)).to_bytes(),
        HeldOut(Predictions(("00" * 32,), np.zeros((1, 2), np.float32)), some(1, 0)).to_bytes(),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(DataError, match=FILE_NAME):
        read_held_out(tmp_path, CLASSES)


def test_a_run_keeps_what_its_measured_model_says_and_a_prediction_for_every_image(trained):
    run, summary = trained
    classes = load(run).classes_
    found = read_held_out(run, list(classes))
    rows = {row["sha256"]: row for row in read_rows(run / "split.csv") if row["split"]}
    assert set(found.out_of_fold.sha256) == set(rows)
    assert set(found.test.sha256) == {name for name, row in rows.items() if row["split"] == "test"}
    right = [classes[p.argmax()] == rows[name]["label"] for name, p in found.test.rows().items()]
    assert np.mean(right) == summary["test"]["accuracy"]
