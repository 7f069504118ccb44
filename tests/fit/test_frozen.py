"""The frozen strategy: a fair order, a head that learned, and honest words when time or hope are short."""

from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.clock import Clock
from foveal.data import audit, make_split
from foveal.errors import DataError, Interrupted
from foveal.features import Extractor
from foveal.fit import Work
from foveal.fit.head import LinearHead
from foveal.fit.learned import Learned
from foveal.fit.strategies import frozen
from foveal.fit.strategies.base import Candidate
from foveal.fit.strategies.frozen import RUNGS, Frozen, fair_order
from foveal.progress import Progress
from foveal.values import Backbone, Placed, Preprocess, Split
from pictures import make_folder, record

VIEWS = next(r for r in RUNGS if r.name == "frozen-views")
STAGES = next(r for r in RUNGS if r.stages)

PLACED = st.lists(
    st.tuples(st.integers(0, 999), st.sampled_from("abc")), max_size=60, unique_by=lambda p: p[0]
).map(lambda rows: [Placed(record(n, label), "train", str(n)) for n, label in rows])


@given(PLACED, st.randoms())
@settings(max_examples=50, deadline=None)
def test_any_beginning_of_the_fair_order_is_a_fair_part(placed, random):
    order = fair_order(placed)
    assert sorted(p.record.path for p in order) == sorted(p.record.path for p in placed)
    whole = Counter(p.record.label for p in placed)
    for n in range(1, len(order) + 1):
        part = Counter(p.record.label for p in order[:n])
        open_ones = [part[c] for c in whole if part[c] < whole[c]]
        if open_ones:
            assert max(part.values()) - min(open_ones) <= 1
    shuffled = list(placed)
    random.shuffle(shuffled)
    assert fair_order(shuffled) == order


class ColourEngine:
    """Features are the mean colours of a picture's quarters: enough to tell the tints apart."""

    name, precision, version = "fake", "f32", "1"

    def submit(self, pixels):
        future = Future()
        quarters = pixels.reshape(len(pixels), 2, 8, 2, 8, 3).mean(axis=(2, 4))
        future.set_result(quarters.reshape(len(pixels), 12).astype(np.float32))
        return future


@pytest.fixture
def split(tmp_path):
    audited = audit(make_folder(tmp_path / "data", {"cat": 50, "cow": 50, "dog": 50}, size=(40, 36)))
    return make_split(audited.records, audited.near)


def work_on(split, clock=None):
    preprocess = Preprocess(size=16, resize="squash")
    extractor = Extractor(Backbone("fake", 12, preprocess, "00", None), preprocess, ColourEngine(), cache=False)
    return Work(split, extractor, clock or Clock(), 0, Progress())


@pytest.mark.parametrize("rung", RUNGS, ids=lambda r: r.name)
def test_a_rung_learns(split, rung):
    work = work_on(split)
    found = rung.fit(work, [])
    assert (found.strategy, found.learned.views) == (rung.name, rung.views)
    assert found.score > 0.9
    assert found.score_ci95[0] <= found.score <= found.score_ci95[1]
    assert found.learned.tensors["head.weight"].shape == (3, 12)
    assert work.decisions.made[f"{rung.name} strength"]["value"] == found.settings["strength"]
    assert found.unreached(split) == set()
    for side in ("val", "test"):
        labels = work.labels(split.on(side))
        assert found.logits_on(side).shape == (len(labels), 3)
        assert (found.logits_on(side).argmax(axis=1) == labels).mean() > 0.8
    assert found.settings["strength"] in [t[0] for t in found.settings["tried"]]


@pytest.mark.parametrize("rung", RUNGS, ids=lambda r: r.name)
def test_the_test_side_is_looked_at_when_it_is_asked_about(split, rung, monkeypatch):
    monkeypatch.setattr(frozen, "_TOLD", 20)
    work, asked = work_on(split), []
    plain = ColourEngine.submit

    def counted(engine, pixels):
        asked.append(len(pixels))
        return plain(engine, pixels)

    monkeypatch.setattr(ColourEngine, "submit", counted)
    found = rung.fit(work, [])
    early = sum(asked)
    assert set(found.logits) == {"val"} and found.owes > 0 and len(found.seen["test"]) == len(split.on("test"))
    later = found.logits_on("test")
    assert sum(asked) - early == len(split.on("test")) * len(rung.views)
    monkeypatch.setattr(frozen, "_AMPLE", 0.0)
    at_once = rung.fit(work_on(split, Clock(1000.0)), [])
    assert at_once.owes == 0 and (at_once.logits["test"] == later).all()
    assert (at_once.logits["val"] == found.logits["val"]).all()


def test_someone_who_says_stop_still_learns_how_good_it_is(split, monkeypatch):
    monkeypatch.setattr(frozen, "_TOLD", 20)
    work = work_on(split)
    found = Frozen().fit(work, [])
    work.clock.stop()
    assert found.logits_on("test").shape == (len(split.on("test")), 3)


def test_a_test_picture_that_changed_meanwhile_is_named(split, monkeypatch):
    monkeypatch.setattr(frozen, "_TOLD", 20)
    found = Frozen().fit(work_on(split), [])
    changed = split.on("test")[3].record.path
    Path(changed).write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        found.logits_on("test")
    assert changed in str(caught.value) and caught.value.hint


def test_held_out_pictures_are_not_learned_from(split):
    """Other labels on the held-out sides change nothing in the head."""
    torn = Split(
        tuple(
            p if p.side == "train" else Placed(record("x", "cow", **kept(p)), p.side, p.group)
            for p in split.placed
        ),
        (),
        split.classes,
    )
    one, other = (Frozen().fit(work_on(s), []).learned.tensors for s in (split, torn))
    assert (one["head.weight"] == other["head.weight"]).all()


def kept(placed):
    return {"path": placed.record.path, "sha256": placed.record.sha256}


def candidate(score, n, views=("plain",), seconds=2.0):
    placed = [Placed(record(i), "train", str(i)) for i in range(n)]
    head = LinearHead(np.zeros((2, 2), dtype=np.float32), np.zeros(2, dtype=np.float32))
    learned = Learned.of_head(head, Preprocess(), Backbone("fake", 2, Preprocess(), "00", None), views)
    return Candidate("frozen", seconds, score, None, n, learned, {}, {"train": placed, "val": [], "test": []}, {})


def test_a_second_view_is_refused_when_its_gain_can_not_be_told_from_chance(split):
    work, views = work_on(split), VIEWS
    reason = views.refuse(work, [candidate(0.95, 500)])
    assert "standard error" in reason
    assert views.refuse(work, [candidate(0.6, 4000)]) is None
    assert views.refuse(work, []) is None
    assert views.refuse(work, [candidate(None, 10)]) is None


@pytest.mark.parametrize(
    ("score", "seconds", "refused"),
    [(0.99, 1.0, False), (0.99, 100.0, True), (0.6, 100.0, False), (1.0, 1.0, True)],
)
def test_stages_that_cost_little_are_asked_about_few_errors_too(split, score, seconds, refused):
    """One error of 100 can't show a gain in accuracy; log-loss can, and a tenth of 200 s is left for it."""
    work = work_on(split, Clock(200.0))
    object.__setattr__(work, "extractor", replace(work.extractor, stages=True))
    work.clock.laps["fit"] = seconds
    assert (STAGES.refuse(work, [candidate(score, 100)]) is not None) is refused


def test_the_estimate_grows_with_the_views(split):
    work = work_on(split)
    assert RUNGS[0].estimate(work, []) == 0
    assert VIEWS.estimate(work, [candidate(0.9, 10, seconds=3.0)]) >= 3.0


def test_imports_that_are_waited_for_do_not_count_for_a_larger_head(split, monkeypatch):
    """On a busy machine they took so long that four times as much was asked for the stages."""
    work = work_on(split)

    def slow():
        work.clock.born -= 1000

    monkeypatch.setattr(frozen, "import_solvers", slow)
    found = Frozen().fit(work, [])
    assert found.seconds > 1000 > STAGES.estimate(work, [found]) > 0


def test_doubt_is_the_binomial_standard_error():
    from scipy.stats import binom

    error, doubt = candidate(0.9, 250).error_and_doubt
    assert error == pytest.approx(0.1)
    assert doubt == pytest.approx(binom(250, 0.9).std() / 250)
    assert candidate(1.0, 100).error_and_doubt[1] > 0


class Short(Clock):
    """Time that is up from when it was asked for so many times: once for the head, then by the features."""

    def __init__(self, asks):
        super().__init__()
        self.asks = asks

    def left(self, *, reserve=0.0):
        self.asks -= 1
        return 0.0 if self.asks <= 0 else 100.0


def test_stopped_before_every_class_was_reached(split, monkeypatch):
    monkeypatch.setattr("foveal.features.pipeline.batch_for", lambda _: 1)
    clock = Clock()
    clock.stop()
    with pytest.raises(Interrupted):
        Frozen().fit(work_on(split, clock), [])


def test_a_time_that_reaches_too_few_pictures_is_a_data_error(split, monkeypatch):
    monkeypatch.setattr("foveal.features.pipeline.batch_for", lambda _: 1)
    with pytest.raises(DataError, match="time") as caught:
        Frozen().fit(work_on(split, Short(2)), [])
    assert caught.value.hint


def test_stopped_later_there_is_a_model_without_a_score(split):
    clock = Clock()
    clock.stop()
    found = Frozen().fit(work_on(split, clock), [])
    assert (found.score, found.score_ci95) == (None, None)
    labels = work_on(split).labels(found.seen["train"])
    assert 3 <= len(labels) < len(split.on("train"))
    assert np.isfinite(found.learned.tensors["head.weight"]).all()


def test_what_the_time_did_not_reach_is_a_fair_part(split):
    found = Frozen().fit(work_on(split, Short(2)), [])
    seen = [p for members in found.seen.values() for p in members]
    missing = found.unreached(split)
    assert 0 < len(missing) < len(split.placed)
    assert missing == {p.record.sha256 for p in split.placed} - {p.record.sha256 for p in seen}
    sizes = Counter(p.record.label for p in seen)
    assert max(sizes.values()) - min(sizes.values()) <= 1
    assert {side for side, logits in found.logits.items() if len(logits) != len(found.seen[side])} == set()
