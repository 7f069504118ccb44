"""Linear probes: trained on a fair part of the images where time is short, and tried where they can pay."""

import importlib
import sys
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from importlib.util import spec_from_loader
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import runs
from fake_time import ManualClock
from foveal.clock import Clock, Deadline
from foveal.config import TrainConfig
from foveal.data.audit import audit
from foveal.data.split.assign import make_split
from foveal.decisions import FEATURE_SECONDS, HEAD_STRENGTH
from foveal.errors import DataError, Interrupted
from foveal.features import Extractor
from foveal.metrics.calibration import softmax
from foveal.models.linear_head import LinearHead
from foveal.models.trained import TrainedModel
from foveal.training.candidate import Candidate
from foveal.training.strategies.linear_probe import FROZEN, FROZEN_STAGES, FROZEN_VIEWS
from foveal.training.strategy import LadderState
from foveal.values import Backbone, Preprocess, Split, SplitRecord
from pictures import make_folder, record

VIEWS = FROZEN_VIEWS
STRATEGIES = (FROZEN, FROZEN_STAGES, FROZEN_VIEWS)


class ColourEngine:
    """Features are the mean colours of an image's quarters: enough to tell the tints apart.

    Each batch takes a second on a manual clock.
    """

    name, precision, version, batch_size = "fake", "fp32", "1", 32

    def __init__(self, clock):
        self.clock, self.images = clock, 0

    def submit(self, pixels):
        self.images += len(pixels)
        if isinstance(self.clock, ManualClock):
            self.clock.now += 1.0
        future = Future()
        quarters = pixels.reshape(len(pixels), 2, 8, 2, 8, 3).mean(axis=(2, 4))
        future.set_result(quarters.reshape(len(pixels), 12).astype(np.float32))
        return future


@pytest.fixture
def split(tmp_path):
    audited = audit(make_folder(tmp_path / "data", {"cat": 50, "cow": 50, "dog": 50}, size=(40, 36)))
    return make_split(audited.records, audited.near, target=audited.listing.target)


def context_of(split, clock=None, *, stages=True, batch_size=32):
    """With a small batch size time can run out after any image."""
    preprocess, clock = Preprocess(size=16, resize="squash"), clock or Clock()
    backbone = Backbone("fake", 12, preprocess, "00", None)
    engine = ColourEngine(clock)
    engine.batch_size = batch_size
    extractor = Extractor(backbone, preprocess, engine, cache=False, stages=stages)
    return runs.context_of(split, clock=clock, evaluation=0.0, extractor=extractor)


def after(*candidates):
    """The state of a search whose last model is the best."""
    return LadderState(list(candidates), candidates[-1] if candidates else None)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
def test_a_probe_is_trained(split, strategy):
    context = context_of(split)
    model = strategy.fit(context, LadderState())
    assert (model.strategy, model.trained.views) == (strategy.name, strategy.views)
    assert model.score > 0.9
    assert model.score_ci95[0] <= model.score <= model.score_ci95[1]
    assert model.trained.tensors["head.weight"].shape == (3, 12)
    assert context.decisions.get(HEAD_STRENGTH.of(strategy.name)) == model.settings["strength"]
    assert model.unreached(split) == set()
    for subset in ("val", "test"):
        labels = context.targets(split.subset(subset))
        assert model.logits_on(subset).shape == (len(labels), 3)
        assert (model.logits_on(subset).argmax(axis=1) == labels).mean() > 0.8
    assert model.settings["strength"] in [t[0] for t in model.settings["tried"]]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
def test_the_test_subset_is_computed_only_when_it_is_needed(split, strategy):
    context = context_of(split)
    engine, test = context.features.engine, split.subset("test")
    model = strategy.fit(context, LadderState())
    before = engine.images
    assert set(model.logits) == {"val"} and model.pending_test_seconds > 0 and model.seen["test"] == test
    later = model.logits_on("test")
    assert engine.images - before == len(test) * len(strategy.views)
    short = context_of(split, ManualClock(1000.0))
    short.decisions.record(FEATURE_SECONDS, 10.0, "a slow engine")
    at_once = strategy.fit(short, LadderState())
    assert at_once.pending_test_seconds == 0 and (at_once.logits["test"] == later).all()
    assert (at_once.logits["val"] == model.logits["val"]).all()


def test_after_a_stop_the_test_subset_is_predicted_all_the_same(split):
    context = context_of(split)
    model = FROZEN.fit(context, LadderState())
    context.clock.stop()
    assert model.logits_on("test").shape == (len(split.subset("test")), 3)


def test_a_test_image_that_changed_meanwhile_is_named(split):
    model = FROZEN.fit(context_of(split), LadderState())
    changed = split.subset("test")[3].record.path
    Path(changed).write_bytes(b"not an image")
    with pytest.raises(DataError) as caught:
        model.logits_on("test")
    assert changed in str(caught.value) and caught.value.hint


@pytest.mark.parametrize("strategy", [FROZEN, VIEWS], ids=lambda s: s.name)
def test_refitted_it_is_logistic_regression_of_the_same_strength_on_all_images(split, strategy):
    context = context_of(split)
    model = strategy.fit(context, LadderState())
    placed = [p for subset in ("train", "val", "test") for p in model.seen[subset]]
    assert len(placed) == len(split.placed)
    again = model.refit.fit(placed, context.target.folds(placed, 0))
    strength, records = model.settings["strength"], [p.record for p in placed]
    views = [
        context.features.run(records, view=view, deadline=Deadline(Clock())).of(records) for view in strategy.views
    ]
    rows, labels = np.concatenate(views), np.tile([p.record.label for p in placed], len(views))
    reference = make_pipeline(
        StandardScaler(), LogisticRegression(C=strength / len(rows), tol=1e-8, max_iter=5000)
    ).fit(rows, labels)
    expected = reference.predict_proba(np.mean(views, axis=0))
    head = LinearHead(again.trained.tensors["head.weight"], again.trained.tensors["head.bias"])
    assert np.abs(softmax(head.logits(np.stack(views))) - expected).max() < 0.01
    assert (again.trained.tensors["head.weight"] != model.trained.tensors["head.weight"]).any()
    assert again.trained.views == model.trained.views and again.logits.shape == (len(placed), 3)


def test_a_refit_without_the_cache_takes_the_time_of_the_features_as_well(split):
    context = context_of(split, ManualClock(1000.0))  # no time passes but in the engine: a second for 32 images
    with_cache = FROZEN.fit(context, LadderState()).refit
    config = TrainConfig(cache=False)
    without = FROZEN.fit(replace(context_of(split, ManualClock(1000.0)), config=config), LadderState()).refit
    assert without.seconds - with_cache.seconds >= len(split.placed) / 32
    unwanted = replace(context_of(split), config=TrainConfig(refit=False))
    assert FROZEN.fit(unwanted, LadderState()).refit is None


def test_held_out_images_are_not_trained_on(split):
    """Other labels in the held-out subsets change nothing in the head."""
    relabelled = Split(
        tuple(
            p if p.subset == "train" else SplitRecord(record("x", "cow", **kept(p)), p.subset, p.group)
            for p in split.placed
        ),
        (),
        split.classes,
    )
    one, other = (FROZEN.fit(context_of(s), LadderState()).trained.tensors for s in (split, relabelled))
    assert (one["head.weight"] == other["head.weight"]).all()


def kept(placed):
    return {"path": placed.record.path, "sha256": placed.record.sha256}


def candidate(score, n, views=("plain",), seconds=2.0):
    placed = [SplitRecord(record(i), "train", str(i)) for i in range(n)]
    head = LinearHead(np.zeros((2, 2), dtype=np.float32), np.zeros(2, dtype=np.float32))
    trained = TrainedModel.of_head(head, Preprocess(), Backbone("fake", 2, Preprocess(), "00", None), views)
    return Candidate("frozen", seconds, score, None, n, trained, {}, {"train": placed, "val": [], "test": []}, {})


def test_a_second_view_is_refused_when_its_gain_could_not_be_told_from_chance(split):
    context, views = context_of(split), VIEWS
    assert views.refuse(context, after(candidate(0.95, 500)))
    assert views.refuse(context, after(candidate(0.6, 4000))) is None
    assert views.refuse(context, LadderState()) is None
    assert views.refuse(context, after(candidate(None, 10))) is None


@pytest.mark.parametrize(
    ("score", "seconds", "refused"),
    [(0.99, 1.0, False), (0.99, 100.0, True), (0.6, 100.0, False), (1.0, 1.0, True)],
)
def test_stages_that_cost_little_are_tried_for_few_errors_too(split, score, seconds, refused):
    """One error of 100 can't show a gain in accuracy; log-loss can, and a tenth of 200 s is left for it."""
    context = context_of(split, ManualClock(200.0))
    first = replace(candidate(score, 100), training_seconds=seconds)
    assert (FROZEN_STAGES.refuse(context, after(first)) is not None) is refused


def test_the_estimate_grows_with_the_views(split):
    context = context_of(split)
    assert STRATEGIES[0].estimate(context, LadderState()) == 0
    assert VIEWS.estimate(context, after(candidate(0.9, 10, seconds=3.0))) >= 3.0


def test_stages_that_are_not_known_are_refused(split):
    assert FROZEN_STAGES.refuse(context_of(split, stages=False), LadderState())
    assert FROZEN_STAGES.refuse(context_of(split), LadderState()) is None


class SlowImport:
    """A finder on a slow disk: importing a module that is loaded already takes 1000 s of a clock."""

    def __init__(self, monkeypatch, name, clock):
        self._name, self._clock, self._module = name, clock, importlib.import_module(name)
        monkeypatch.setattr(self._module, "__spec__", self._module.__spec__)  # restored afterwards
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [self, *sys.meta_path])

    def find_spec(self, name, path=None, target=None):
        return spec_from_loader(name, self) if name == self._name else None

    def create_module(self, spec):
        self._clock.now += 1000
        return self._module

    def exec_module(self, module):
        pass


def test_waiting_for_imports_does_not_count_for_a_larger_head(split, monkeypatch):
    """On a busy machine they took so long that four times as much was planned for the stages."""
    clock = ManualClock()
    context = context_of(split, clock)
    SlowImport(monkeypatch, "sklearn.model_selection", clock)
    model = FROZEN.fit(context, LadderState())
    assert model.seconds >= 1000 > FROZEN_STAGES.estimate(context, after(model))


def test_stopped_before_every_class_was_reached(split):
    clock = Clock()
    clock.stop()
    with pytest.raises(Interrupted):
        FROZEN.fit(context_of(split, clock, batch_size=1), LadderState())


def test_a_time_that_reaches_too_few_images_is_a_data_error(split):
    with pytest.raises(DataError) as caught:
        FROZEN.fit(context_of(split, ManualClock(1.5), batch_size=1), LadderState())
    assert caught.value.hint


def test_stopped_later_there_is_a_model_without_a_score(split):
    clock = Clock()
    clock.stop()
    model = FROZEN.fit(context_of(split, clock), LadderState())
    assert (model.score, model.score_ci95) == (None, None)
    labels = context_of(split).targets(model.seen["train"])
    assert 3 <= len(labels) < len(split.subset("train"))
    assert np.isfinite(model.trained.tensors["head.weight"]).all()


def test_what_the_time_did_not_reach_is_a_fair_part(split):
    model = FROZEN.fit(context_of(split, ManualClock(60.0), batch_size=1), LadderState())
    seen = [p for members in model.seen.values() for p in members]
    missing = model.unreached(split)
    assert 0 < len(missing) < len(split.placed)
    assert missing == {p.record.sha256 for p in split.placed} - {p.record.sha256 for p in seen}
    sizes = Counter(p.record.label for p in seen)
    assert max(sizes.values()) - min(sizes.values()) <= 1
    assert {subset for subset, logits in model.logits.items() if len(logits) != len(model.seen[subset])} == set()
