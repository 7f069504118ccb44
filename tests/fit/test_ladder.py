"""The ladder: each rung only if it fits the time and the hope; the reason is said."""

from types import SimpleNamespace

import numpy as np
import pytest

from foveal.clock import Clock
from foveal.errors import MemoryShort, UnknownName
from foveal.fit import climb
from foveal.fit.evidence import Evidence
from foveal.fit.ladder import MARGIN
from foveal.fit.strategies.base import Candidate
from foveal.progress import Progress
from foveal.values import Decisions


class Rung:
    def __init__(self, name, score, *, seconds=1.0, refusal=None, then=lambda: None, owes=0.0):
        self.name, self.score, self.seconds, self.refusal, self.then = name, score, seconds, refusal, then
        self.saw, self.surely_better, self.owes = None, False, owes

    def estimate(self, work, so_far):
        return self.seconds

    def refuse(self, work, so_far):
        return self.refusal

    def fit(self, work, so_far):
        self.saw = list(so_far)
        self.then()
        return SimpleNamespace(
            strategy=self.name,
            score=self.score,
            settings={"strength": 4.0},
            error_and_doubt=(0.1, 0.02),
            evidence=None,
            handicap=0.0,
            owes=self.owes,
        )


class Heard(Progress):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def job(budget=float("inf"), reserve=0.0):
    return SimpleNamespace(clock=Clock(budget), reserve=reserve, progress=Heard())


def names(candidates):
    return [c.strategy for c in candidates]


def test_every_rung_is_climbed_and_the_best_is_kept():
    better, decisions = [], Decisions()
    rungs = [Rung("a", 0.7), Rung("b", 0.9), Rung("c", 0.8)]
    found = climb(rungs, job(), decisions, on_better=better.append)
    assert names(found.candidates) == ["a", "b", "c"]
    assert found.best.strategy == "b"
    assert names(better) == ["a", "b"]
    assert names(rungs[2].saw) == ["a", "b"]
    assert found.reason == "every rung was climbed"
    assert decisions.made["strategy"] == {"value": "b", "reason": found.reason}
    assert decisions.made["settings"]["value"] == {"strength": 4.0}


def test_an_equal_score_does_not_replace_the_cheaper_rung():
    assert climb([Rung("a", 0.8), Rung("b", 0.8)], job(), Decisions()).best.strategy == "a"


def test_a_rung_that_takes_longer_than_what_is_left_is_not_begun():
    work, rungs = job(budget=1000.0, reserve=400.0), [Rung("a", 0.5), Rung("b", 0.9, seconds=601 / MARGIN)]
    found = climb(rungs, work, Decisions())
    assert names(found.candidates) == ["a"]
    assert rungs[1].saw is None
    assert found.reason.startswith("without b: it would take about 10 min 01 s")
    assert "left" in found.reason
    assert work.progress.said == [found.reason]


def test_the_same_rung_is_begun_when_the_time_suffices():
    found = climb([Rung("a", 0.5), Rung("b", 0.9, seconds=590 / MARGIN)], job(1000.0, 400.0), Decisions())
    assert names(found.candidates) == ["a", "b"]


@pytest.mark.parametrize(("owes", "climbed"), [(0.0, ["a", "b"]), (300.0, ["a"])])
def test_what_the_best_still_has_to_be_asked_is_left_time_for(owes, climbed):
    rungs = [Rung("a", 0.5, owes=owes), Rung("b", 0.9, seconds=500 / MARGIN)]
    assert names(climb(rungs, job(budget=700.0), Decisions()).candidates) == climbed


def test_a_rung_that_would_just_fit_by_its_estimate_is_not_trusted():
    found = climb([Rung("a", 0.5), Rung("b", 0.9, seconds=550)], job(1000.0, 400.0), Decisions())
    assert names(found.candidates) == ["a"]


def test_the_first_rung_is_climbed_whatever_it_takes():
    found = climb([Rung("a", 0.5, seconds=1e9, refusal="never")], job(budget=0.0), Decisions())
    assert names(found.candidates) == ["a"]


def test_a_refused_rung_is_left_out_and_the_next_one_weighed():
    rungs = [Rung("a", 0.9), Rung("b", 0.9, refusal="c is better"), Rung("c", 1.0)]
    found = climb(rungs, job(), Decisions())
    assert names(found.candidates) == ["a", "c"]
    assert found.reason == "every rung was climbed"


def test_the_reason_is_that_of_the_first_rung_that_was_wanting():
    rungs = [Rung("a", 0.9), Rung("b", 0.9, refusal="its gain is under the noise"), Rung("c", 1.0, refusal="too")]
    found = climb(rungs, job(), Decisions())
    assert names(found.candidates) == ["a"]
    assert found.reason == "without b: its gain is under the noise"


def test_a_rung_that_does_not_fit_into_memory_is_left_out_unless_it_is_the_only_one():
    def short():
        raise MemoryShort("b does not fit into --memory 1")

    work = job()
    found = climb([Rung("a", 0.5), Rung("b", 0.9, then=short), Rung("c", 0.6)], work, Decisions())
    assert names(found.candidates) == ["a", "c"]
    assert work.progress.said[0] == "without b: b does not fit into --memory 1"
    assert work.progress.said[1].startswith("c takes the place of a: its score is 60.0%")
    with pytest.raises(MemoryShort):
        climb([Rung("b", 0.9, then=short)], job(), Decisions())


def test_a_wish_to_stop_ends_the_climb():
    work = job()
    found = climb([Rung("a", 0.9, then=work.clock.stop), Rung("b", 1.0)], work, Decisions())
    assert names(found.candidates) == ["a"]
    assert found.reason == "without b: asked to stop"


def test_a_pinned_rung_is_climbed_alone():
    decisions = Decisions()
    found = climb([Rung("a", 0.9), Rung("b", 0.5, seconds=1e9)], job(10.0), decisions, only="b")
    assert names(found.candidates) == ["b"]
    assert decisions.made["strategy"] == {"value": "b", "reason": "it was pinned"}


def test_an_unknown_rung_suggests_the_nearest():
    with pytest.raises(UnknownName) as caught:
        climb([Rung("frozen", 1.0), Rung("frozen-views", 1.0)], job(), Decisions(), only="frosen")
    assert caught.value.near == "frozen"


@pytest.mark.parametrize("scores", [(None,), (None, None), (None, 0.4), (0.0, 0.1)])
def test_without_a_score_there_still_is_a_best(scores):
    better = []
    found = climb([Rung(str(i), s) for i, s in enumerate(scores)], job(), Decisions(), on_better=better.append)
    assert better[-1] is found.best
    assert (found.best.score or 0) == max(s or 0 for s in scores)


@pytest.mark.parametrize(("score", "best"), [(0.95, "b"), (0.9, "b"), (0.885, "b"), (0.87, "a")])
def test_a_rung_known_to_be_better_stays_unless_it_is_clearly_worse(score, best):
    surely = Rung("b", score)
    surely.surely_better = True
    assert climb([Rung("a", 0.9), surely], job(), Decisions()).best.strategy == best


def test_what_was_decided_earlier_is_obeyed():
    earlier = Decisions()
    climb([Rung("a", 0.5), Rung("b", 0.9, refusal="no")], job(), earlier)
    again = Decisions({k: v for k, v in earlier.made.items() if k.startswith("climb")})
    assert names(climb([Rung("a", 0.5), Rung("b", 0.9)], job(), again).candidates) == ["a"]


def test_what_an_earlier_process_finished_is_repeated_without_hurry_and_the_rest_by_the_clock():
    """A run that is resumed late had infinite time for what nobody had decided, or none for what had been done."""
    earlier, work, left = Decisions(), job(budget=1000.0), []
    climb([Rung("a", 0.5), Rung("b", 0.9, refusal="no")], job(), earlier)
    given = {k: v for k, v in earlier.made.items() if k == "climb b"}
    work.clock.born -= 2000.0

    def note():
        left.append(work.clock.left())

    rungs = [Rung("a", 0.5, then=note), Rung("b", 0.9), Rung("c", 1.0, then=note)]
    found = climb(rungs, work, Decisions(given))
    assert left == [float("inf")] and names(found.candidates) == ["a"]
    fresh = [Rung("a", 0.5, then=note)]
    climb(fresh, work, Decisions())
    assert left[1:] == [0.0]


@pytest.mark.parametrize(
    ("loss", "whole", "kept"),
    [(0.5, True, True), (0.55, True, True), (0.55, False, False), (0.5, False, True), (1.4, True, False),
     (float("nan"), True, False)],
)  # fmt: skip
def test_a_training_that_went_on_with_more_pictures_is_judged_by_its_own_loss(loss, whole, kept):
    """It shares the evidence of the first part, which says nothing of it; stopped halfway it must not be worse."""
    from foveal.fit.ladder import _beats

    evidence = Evidence({"a": np.zeros(2, dtype=np.float32)}, {"a": 0})
    first, again = (
        SimpleNamespace(strategy="x", evidence=evidence, settings={"outcome": {"loss": v}}) for v in (0.5, loss)
    )
    keeps, reason = _beats(again, first, surely=True, whole=whole)
    assert keeps is kept and "held out" in reason


@pytest.mark.parametrize(("handicap", "kept"), [(0.0, False), (3.0, True)])
def test_a_first_part_that_goes_on_may_be_a_little_behind(handicap, kept):
    """By one picture of forty: a sum of z-values of about -1, since neither is surer than the other."""
    from foveal.fit.ladder import _beats

    labels = {str(i): i % 2 for i in range(40)}
    sure = {name: np.eye(2, dtype=np.float32)[label] for name, label in labels.items()}
    old = SimpleNamespace(strategy="old", evidence=Evidence({**sure, "0": sure["1"]}, labels))
    new = Evidence({**sure, "0": sure["1"], "1": sure["0"]}, labels)
    candidate = SimpleNamespace(strategy="new", evidence=new, handicap=handicap)
    assert _beats(candidate, old, surely=False)[0] is kept


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_first_part_that_is_behind_is_handed_over_only_when_it_has_gone_on(goes_on):
    labels = {str(i): i % 2 for i in range(40)}
    sure = {name: np.eye(2, dtype=np.float32)[label] for name, label in labels.items()}
    old = Evidence({**sure, "0": sure["1"]}, labels)
    behind = Evidence({**sure, "0": sure["1"], "1": sure["0"]}, labels)

    class Known(Rung):
        def fit(self, work, so_far):
            evidence, handicap = {"old": (old, 0.0), "first": (behind, 3.0), "first-all": (behind, 0.0)}[self.name]
            return Candidate(
                self.name,
                1.0,
                0.9,
                None,
                40,
                None,
                {},
                {},
                {"outcome": {"loss": 0.5}},
                evidence,
                handicap=handicap,
            )

    better = []
    rungs = [Known("old", 0), Known("first", 0), Known("first-all", 0, refusal=None if goes_on else "no time")]
    found = climb(rungs, job(), Decisions(), on_better=better.append)
    assert found.best.strategy == ("first-all" if goes_on else "old")
    assert names(better) == (["old", "first-all"] if goes_on else ["old"])
