"""A small version of `bench/mutations.py`: edits and damage are refused, made again, or change nothing."""

import pytest

import mutations


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """A run of its own, with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield mutations.Subject(tmp_path_factory.mktemp("subject"))


def test_random_edits(subject):
    counts, wrong = mutations.edits(subject, 150, seed=1)
    assert wrong == [] and sum(counts.values()) == 150
    assert any("signed: changed" in outcome for outcome in counts)  # what is within range may be edited


def test_random_flips(subject):
    counts, wrong = mutations.flips(subject, 40, seed=1)
    assert wrong == [] and sum(counts.values()) == 40


def test_what_is_wrong_is_counted(subject):
    """The checks find what they are made to find."""

    def fails():
        raise KeyError("x")

    answer = next(iter(subject.answers.values()))
    assert mutations.judged(fails, answer).startswith("uncaught KeyError")
    assert mutations.judged(lambda: answer * float("nan"), answer) == "not a number"
    assert mutations.judged(lambda: answer[:, ::-1], answer) == "changed"
    assert mutations.judged(lambda: answer + 1e-7, answer) == "same"
