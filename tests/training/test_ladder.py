"""The search: a strategy runs only if it fits the time and is worth it; the best model is kept, with the reason."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from fake_time import ManualClock
from foveal.config import TrainConfig
from foveal.decisions import KEEP, SETTINGS, SKIP, STRATEGY, Decisions
from foveal.errors import MemoryShort, UnknownName
from foveal.models.trained import TrainedModel
from foveal.training.candidate import Candidate
from foveal.training.compare import LabelEvidence
from foveal.training.ladder import search
from foveal.training.strategy import LadderState, below_noise_floor
from foveal.training.time_budget import MARGIN
from foveal.values import Preprocess
from runs import context_of


def candidate(name, score, **more):
    """A model that was tested on 225 images: near 90 % a standard error is 2 points."""
    given = {"settings": {"strength": 4.0}, "score_n": 225, **more}
    trained = TrainedModel({}, Preprocess())
    return Candidate(name, 1.0, score, None, trained=trained, logits={}, seen={}, **given)


class Toy:
    """A strategy whose result is known beforehand; notes the state that it is handed."""

    def __init__(self, name, score, *, seconds=1.0, refusal=None, then=lambda: None, unless_worse=False, **more):
        self.name, self.score, self.seconds, self.refusal, self.then = name, score, seconds, refusal, then
        self.continues = None
        self.keep_unless_worse, self.more, self.states = unless_worse, more, []

    def estimate(self, context, state):
        return self.seconds

    def refuse(self, context, state):
        return self.refusal

    def fit(self, context, state):
        self.states.append(
            SimpleNamespace(
                tried=names(state.candidates),
                best=state.best and state.best.strategy,
                rejected=set(state.rejected),
                kept=[c.strategy for c in state.candidates if state.kept(c.strategy)],
                pending=state.pending_seconds,
            )
        )
        self.then()
        return candidate(self.name, self.score, **self.more)


def context_with(budget=math.inf, *, evaluation=0.0, only=None, decisions=None):
    return context_of(
        clock=ManualClock(budget),
        evaluation=evaluation,
        made=decisions or (),
        config=TrainConfig(strategy=only),
    )


def names(candidates):
    return [c.strategy for c in candidates]


def tried(strategies, context=None):
    return names(search(strategies, context or context_with()).candidates)


def test_every_strategy_is_tried_and_the_best_is_kept():
    better, context = [], context_with()
    result = search([Toy("a", 0.7), Toy("b", 0.9), Toy("c", 0.8)], context, on_better=better.append)
    assert names(result.candidates) == ["a", "b", "c"]
    assert result.best.strategy == "b" and names(better) == ["a", "b"]
    assert context.decisions.get(STRATEGY) == "b" and context.decisions.reason(STRATEGY) == result.reason
    assert context.decisions.get(SETTINGS) == {"strength": 4.0}
    assert dict(context.decisions.of_kind(KEEP)) == {"b": True, "c": False}
    assert dict(context.decisions.of_kind(SKIP)) == {"b": "", "c": ""}


def test_a_strategy_sees_what_was_tried_kept_and_rejected():
    strategies = [
        Toy("a", 0.7),
        Toy("b", 0.5),
        Toy("c", 0.9, pending_test_seconds=7.0),
        Toy("d", 0.8),
        Toy("e", 0.1),
    ]
    search(strategies, context_with())
    seen = [s.states[0] for s in strategies]
    assert [s.tried for s in seen] == [list("abcd"[:n]) for n in range(5)]
    assert [s.best for s in seen] == [None, "a", "a", "c", "c"]
    assert [s.rejected for s in seen] == [set(), set(), {"b"}, {"b"}, {"b", "d"}]
    assert [s.kept for s in seen] == [[], ["a"], ["a"], ["a", "c"], ["a", "c"]]
    assert [s.pending for s in seen] == [0.0, 0.0, 0.0, 7.0, 7.0]


def test_a_state_finds_models_by_their_strategy():
    first, second = candidate("a", 0.5), candidate("b", 0.4)
    state = LadderState([first, second], first, {"b"})
    assert state.first is first and state.of("b") is second and state.of("c") is None
    assert state.kept("a") is first and state.kept("b") is None and state.kept("c") is None
    empty = LadderState()
    assert empty.first is None and empty.of("a") is None and empty.pending_seconds == 0


def test_an_equal_score_does_not_replace_the_cheaper_strategy():
    assert search([Toy("a", 0.8), Toy("b", 0.8)], context_with()).best.strategy == "a"


@pytest.mark.parametrize(("seconds", "begun"), [(550.0, False), (601 / MARGIN, False), (599 / MARGIN, True)])
def test_a_strategy_is_begun_only_when_its_estimate_fits_with_a_margin(seconds, begun):
    context, strategy = context_with(1000.0, evaluation=400.0), Toy("b", 0.9, seconds=seconds)
    result = search([Toy("a", 0.5), strategy], context)
    assert names(result.candidates) == (["a", "b"] if begun else ["a"]) and bool(strategy.states) is begun
    assert bool(context.decisions.get(SKIP.of("b"))) is not begun
    if not begun:
        assert "b" in result.reason and context.progress.said == [result.reason]


@pytest.mark.parametrize(("pending", "expected"), [(0.0, ["a", "b"]), (300.0, ["a"])])
def test_time_is_left_for_pending_predictions_of_the_best_model(pending, expected):
    strategies = [Toy("a", 0.5, pending_test_seconds=pending), Toy("b", 0.9, seconds=500 / MARGIN)]
    assert tried(strategies, context_with(700.0)) == expected


def test_pending_predictions_of_a_rejected_model_take_no_time():
    strategies = [Toy("a", 0.5), Toy("b", 0.1, pending_test_seconds=300.0), Toy("c", 0.9, seconds=500 / MARGIN)]
    assert tried(strategies, context_with(700.0)) == ["a", "b", "c"]


def test_the_first_strategy_runs_whatever_it_takes():
    assert tried([Toy("a", 0.5, seconds=1e9, refusal="never")], context_with(0.0)) == ["a"]


def test_a_refused_strategy_is_skipped_and_the_next_one_considered():
    context = context_with()
    strategies = [Toy("a", 0.9), Toy("b", 0.9, refusal="c is better"), Toy("c", 1.0)]
    assert tried(strategies, context) == ["a", "c"]
    assert context.decisions.get(SKIP.of("b")) == "c is better"


def test_the_reason_is_that_of_the_first_strategy_that_was_skipped():
    strategies = [Toy("a", 0.9), Toy("b", 0.9, refusal="below the noise"), Toy("c", 1.0, refusal="too long")]
    result = search(strategies, context_with())
    assert names(result.candidates) == ["a"]
    assert "below the noise" in result.reason and "too long" not in result.reason


def test_a_strategy_that_does_not_fit_into_memory_is_skipped_unless_it_is_the_only_one():
    def short():
        raise MemoryShort("b does not fit")

    context = context_with()
    assert tried([Toy("a", 0.5), Toy("b", 0.9, then=short), Toy("c", 0.6)], context) == ["a", "c"]
    assert "b does not fit" in context.progress.said[0]
    with pytest.raises(MemoryShort):
        tried([Toy("b", 0.9, then=short)])


def test_a_request_to_stop_ends_the_search():
    context = context_with()
    assert tried([Toy("a", 0.9, then=context.clock.stop), Toy("b", 1.0)], context) == ["a"]
    assert context.decisions.get(SKIP.of("b"))


def test_the_one_strategy_that_was_chosen_runs_alone():
    context = context_with(10.0, only="b")
    assert tried([Toy("a", 0.9), Toy("b", 0.5, seconds=1e9)], context) == ["b"]
    assert context.decisions.get(STRATEGY) == "b"


def test_an_unknown_strategy_suggests_the_nearest():
    with pytest.raises(UnknownName) as caught:
        search([Toy("frozen", 1.0), Toy("frozen-views", 1.0)], context_with(only="frosen"))
    assert caught.value.near == "frozen"


@pytest.mark.parametrize("scores", [(None,), (None, None), (None, 0.4), (0.0, 0.1)])
def test_without_a_score_there_still_is_a_best_model(scores):
    better = []
    result = search([Toy(str(i), s) for i, s in enumerate(scores)], context_with(), on_better=better.append)
    assert better[-1] is result.best
    assert (result.best.score or 0) == max(s or 0 for s in scores)


@pytest.mark.parametrize(("score", "best"), [(0.95, "b"), (0.9, "b"), (0.885, "b"), (0.87, "a")])
def test_a_strategy_known_to_be_better_is_kept_unless_it_is_clearly_worse(score, best):
    strategies = [Toy("a", 0.9), Toy("b", score, unless_worse=True)]
    assert search(strategies, context_with()).best.strategy == best


@pytest.mark.parametrize(("complete", "best"), [(True, "b"), (False, "a")])
def test_one_that_was_stopped_must_not_be_worse_at_all(complete, best):
    worse = {"evidence": evidence(1, 2, 3), "complete": complete}
    strategies = [Toy("a", 0.9, evidence=evidence(0, 4)), Toy("b", 0.9, unless_worse=True, **worse)]
    assert search(strategies, context_with()).best.strategy == best
    strategies = [Toy("a", 0.9), Toy("b", 0.885, unless_worse=True, complete=complete)]
    assert search(strategies, context_with()).best.strategy == best


def test_earlier_decisions_are_obeyed():
    earlier = context_with()
    search([Toy("a", 0.5), Toy("b", 0.9, refusal="no"), Toy("c", 0.6)], earlier)
    again = context_with(decisions=Decisions.from_dict(earlier.decisions.to_dict()))
    result = search([Toy("a", 0.5), Toy("b", 0.9), Toy("c", 0.1)], again)
    assert names(result.candidates) == ["a", "c"] and result.best.strategy == "c"


def test_what_an_earlier_process_finished_is_repeated_without_a_deadline_and_the_rest_within_the_time():
    """A run that was resumed late had infinite time for what was not decided, or none for what had been done."""
    skipped = {"b/skip": {"value": "no", "reason": "no"}}
    context, left = context_with(1000.0, decisions=Decisions(skipped)), []
    context.clock.now = 2000.0

    def note():
        left.append(context.clock.left())

    assert tried([Toy("a", 0.5, then=note), Toy("b", 0.9), Toy("c", 1.0, then=note)], context) == ["a"]
    assert left == [math.inf] and context.clock.budget == 1000.0
    late = context_with(1000.0)
    late.clock.now = 2000.0
    search([Toy("a", 0.5, then=lambda: left.append(late.clock.left()))], late)
    assert left[1:] == [0.0]


def evidence(*wrong):
    """Confident predictions for 40 images, with errors at these."""
    labels = {str(i): i % 2 for i in range(40)}
    right = np.eye(2, dtype=np.float32)
    return LabelEvidence({n: right[1 - v if int(n) in wrong else v] for n, v in labels.items()}, labels)


@pytest.mark.parametrize(
    ("loss", "complete", "kept"),
    [(0.5, True, True), (0.55, True, True), (0.55, False, False), (0.5, False, True), (1.4, True, False),
     (math.nan, True, False)],
)  # fmt: skip
def test_a_training_that_continued_with_the_held_out_images_is_judged_by_its_own_loss(loss, complete, kept):
    """It shares the evidence of the first part, which says nothing of it; stopped halfway it must not be worse."""
    shared = evidence()
    first, second = ({"loss": v, "evidence": shared} for v in (0.5, loss))
    strategies = [Toy("x", 0.9, **first), Toy("x-all", 0.9, unless_worse=True, complete=complete, **second)]
    assert (search(strategies, context_with()).best.strategy == "x-all") is kept


@pytest.mark.parametrize(("handicap", "kept"), [(0.0, False), (0.5, False), (3.0, True)])
def test_a_first_part_that_continues_may_be_a_little_behind(handicap, kept):
    """By one image of forty: a sum of z-values of about -1, since neither is more confident than the other."""
    last = Toy("c", 0.0, evidence=evidence(*range(40)))
    strategies = [
        Toy("a", 0.9, evidence=evidence(0)),
        Toy("b", 0.9, evidence=evidence(0, 1), handicap=handicap),
        last,
    ]
    search(strategies, context_with())
    assert (last.states[0].best == "b") is kept


@pytest.mark.parametrize("continues", [True, False])
def test_a_first_part_that_is_behind_becomes_the_model_only_when_it_has_continued(continues):
    ahead, behind = evidence(0), evidence(0, 1)
    strategies = [
        Toy("old", 0.9, evidence=ahead),
        Toy("first", 0.9, evidence=behind, handicap=3.0, loss=0.5),
        Toy("first-all", 0.9, evidence=behind, loss=0.5, refusal=None if continues else "no time"),
    ]
    better, context = [], context_with()
    result = search(strategies, context, on_better=better.append)
    final = "first-all" if continues else "old"
    assert result.best.strategy == final == context.decisions.get(STRATEGY)
    assert names(better) == (["old", "first-all"] if continues else ["old"])


def test_models_are_compared_by_evidence_where_both_have_some_and_by_scores_otherwise():
    good, bad = evidence(), evidence(*range(20))
    assert search([Toy("a", 0.9, evidence=bad), Toy("b", 0.1, evidence=good)], context_with()).best.strategy == "b"
    assert search([Toy("a", 0.9, evidence=bad), Toy("b", 0.1)], context_with()).best.strategy == "a"


def test_the_error_has_the_binomial_standard_error():
    from scipy.stats import binom

    error, std_error = candidate("a", 0.9, score_n=250).error_and_std_error
    assert error == pytest.approx(0.1)
    assert std_error == pytest.approx(binom(250, 0.9).std() / 250)
    assert candidate("a", 1.0, score_n=100).error_and_std_error[1] > 0


@pytest.mark.parametrize(("share", "score", "n", "told"), [(0.5, 0.9, 225, True), (0.03, 0.9, 225, False)])
def test_a_gain_below_the_standard_error_is_not_worth_trying(share, score, n, told):
    assert (below_noise_floor(share, candidate("a", score, score_n=n)) is None) is told
