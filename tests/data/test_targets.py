"""A target owns its task: encoding, strata, loss, score and calibration, and what a run folder keeps of it."""

import json
import math
import pickle
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import masked
from foveal.data.audit import audit
from foveal.data.targets.labels import Labels
from foveal.data.targets.mask_loss import class_weights
from foveal.data.targets.masks import Masks
from foveal.data.targets.pairs import load_pairs
from foveal.data.targets.registry import find_target, target_of, targets
from foveal.errors import DataError, UnknownName
from foveal.metrics.calibration import HeldOutLogits
from foveal.metrics.intervals import wilson
from foveal.metrics.segmentation import VOID, block_bootstrap
from foveal.values import LabelMap, Preprocess, SplitRecord
from pictures import record

CLASSES = ("a", "b", "c")
MAP = LabelMap(CLASSES, (0, 1, 2), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))


def placed(labels, groups=None):
    groups = groups or [str(i) for i in range(len(labels))]
    return [SplitRecord(record(i, c), "train", g) for i, (c, g) in enumerate(zip(labels, groups, strict=True))]


LABELLED = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), min_size=1, max_size=60)


# What a run folder keeps.


@pytest.mark.parametrize("target", [Labels(), Masks(label_map=MAP)])
def test_a_target_survives_json_and_pickle(target):
    again = target_of(json.loads(json.dumps(target.to_dict())))
    assert type(again) is type(target) and again.to_dict() == target.to_dict()
    assert pickle.loads(pickle.dumps(target)).to_dict() == target.to_dict()


def test_the_json_names_the_task_and_the_label_map():
    assert Labels().to_dict() == {"task": "classify"}
    values = Masks(label_map=MAP).to_dict()
    assert set(values) == {"task", "label_map"} and values["task"] == "segment"
    assert set(values["label_map"]) == {"classes", "values", "colours", "void", "void_colours"}


def test_older_runs_call_the_label_map_a_legend():
    values = Masks(label_map=MAP).to_dict()
    values["legend"] = values.pop("label_map")
    assert target_of(json.loads(json.dumps(values))).label_map == MAP


def test_an_audit_without_a_task_is_of_labels():
    assert isinstance(target_of({}), Labels)


def test_an_unknown_task_suggests_the_nearest():
    with pytest.raises(UnknownName) as caught:
        find_target("clasify")
    assert "classify" in caught.value.hint


def test_every_target_is_found_by_its_task():
    assert [find_target(kind.task) for kind in targets()] == targets()


# Encoding.


def test_labels_are_encoded_as_positions():
    encoded = Labels().encode(placed("bacb"), CLASSES)
    assert encoded.dtype == np.int64 and encoded.tolist() == [1, 0, 2, 1]
    assert Labels().encode([], CLASSES).shape == (0,)


def test_masks_are_loaded_with_their_images(tmp_path):
    audited = audit(masked.write_pairs(tmp_path, 3))
    target, box = audited.listing.target, Preprocess(size=40, height=32, resize="fit")
    images, masks = load_pairs(audited.records, box, target.label_map)
    assert images.shape == (3, 3, 32, 40) and masks.shape == (3, 32, 40)
    with pytest.raises(NotImplementedError):
        target.encode([SplitRecord(r, "train", "g") for r in audited.records], target.label_map.classes)
    (tmp_path / "masks" / "ax0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"ax0\.png"):
        load_pairs(audited.records, box, target.label_map)


# Folds and order.


@given(LABELLED, st.integers(0, 3), st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_folds_keep_groups_whole_and_hold_every_class_out(rows, seed, most):
    labels, groups = [c for c, _ in rows], [str(g) for _, g in rows]
    folds = Labels().folds(placed(labels, groups), seed, most=most)
    leaders = {}
    for label, group in rows:
        leaders.setdefault(str(group), label)
    fewest = min(Counter(leaders.values()).get(c, 0) for c in set(labels))
    assert (folds is None) == (fewest < 2)
    if folds is None:
        return
    assert set(folds.tolist()) == set(range(min(most, fewest)))
    for group in set(groups):
        assert len({f for f, g in zip(folds.tolist(), groups, strict=True) if g == group}) == 1
    spread = Counter((folds[groups.index(g)], c) for g, c in leaders.items())
    for c in set(leaders.values()):
        counts = [spread[f, c] for f in set(folds.tolist())]
        assert max(counts) - min(counts) <= 1


def test_folds_of_masks_are_not_stratified_and_keep_groups():
    records = [replace(p, group=str(i // 2)) for i, p in enumerate(placed([None] * 20))]
    folds = Masks(label_map=MAP).folds(records, 0)
    assert np.array_equal(folds[::2], folds[1::2]) and Counter(folds.tolist()) == dict.fromkeys(range(5), 4)
    assert Masks(label_map=MAP).folds([], 0) is None


@given(st.lists(st.sampled_from("aabbbbc"), max_size=40), st.randoms())
@settings(max_examples=60, deadline=None)
def test_any_beginning_of_a_fair_order_has_all_classes_alike(labels, random):
    records = placed(labels)
    order = Labels().fair_order(records)
    shuffled = random.sample(records, len(records))
    assert Labels().fair_order(shuffled) == order
    assert Counter(p.record.path for p in order) == Counter(p.record.path for p in records)
    total = Counter(labels)
    for n in range(len(order) + 1):
        seen = Counter(p.record.label for p in islice(order, n))
        short = [seen[c] for c in total if seen[c] < total[c]]
        assert not short or max(seen.values(), default=0) - min(short) <= 1


# Loss.


def test_the_loss_of_labels_is_cross_entropy():
    logits, targets = torch.randn(8, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    for smoothing in (0.0, 0.1):
        expected = functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        assert torch.equal(Labels().loss(label_smoothing=smoothing)(logits, targets), expected)
    weights = torch.tensor([1.0, 2.0, 3.0])
    expected = functional.cross_entropy(logits, targets, weights)
    assert torch.equal(Labels().loss(class_weights=weights)(logits, targets), expected)
    with pytest.raises(ValueError):
        Labels().loss(dice=1.0)


def test_the_loss_of_masks_ignores_void_and_falls_to_nothing_when_all_is_right():
    targets = torch.tensor([[[0, 1], [2, VOID]]])
    right = 50.0 * functional.one_hot(targets.clamp(max=2), 3).permute(0, 3, 1, 2).float()
    loss = Masks().loss(class_weights=torch.tensor([1.0, 2.0, 0.5]), dice=1.0)
    assert loss(right, targets) < 1e-3 < loss(-right, targets)
    changed = right.clone()
    changed[0, :, 1, 1] = torch.tensor([-9.0, 3.0, 7.0])
    assert torch.equal(loss(changed, targets), loss(right, targets))
    nothing = loss(right.requires_grad_(), torch.full((1, 2, 2), VOID))
    nothing.backward()
    assert nothing == 0 and right.grad.abs().sum() == 0
    with pytest.raises(ValueError):
        Masks().loss(label_smoothing=0.1)


@pytest.mark.parametrize("dice", [0.0, 0.7])
def test_masks_without_weights_count_all_classes_alike(dice):
    logits, targets = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    alike = Masks().loss(class_weights=torch.ones(3), dice=dice)(logits, targets)
    assert torch.equal(Masks().loss(dice=dice)(logits, targets), alike)
    if not dice:
        assert torch.isclose(alike, functional.cross_entropy(logits, targets))


@given(st.lists(st.integers(0, 400), min_size=2, max_size=6), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_class_weights_average_to_one_over_the_pixels(counts, power):
    mask = np.repeat(np.arange(len(counts)), counts).astype(np.uint8)
    weights = class_weights([mask, np.full(7, VOID, np.uint8)], len(counts), power).numpy()
    assert (weights > 0).all()
    if len(mask):
        assert weights[mask].mean() == pytest.approx(1.0, rel=1e-3)
    else:
        assert (weights == 1).all()
    occurring = [(n, w) for n, w in zip(counts, weights, strict=True) if n]
    for n, w in occurring:
        assert all(w >= other - 1e-6 for m, other in occurring if m >= n)


@pytest.mark.parametrize("target", [Labels(), Masks(label_map=MAP)])
def test_the_initial_loss_is_that_of_equal_logits(target):
    shape = () if isinstance(target, Labels) else (4, 4)
    targets = torch.zeros((2, *shape), dtype=torch.long)
    loss = target.loss()(torch.zeros(2, 3, *shape), targets)
    assert float(loss) == pytest.approx(target.initial_loss(CLASSES), rel=1e-6)


# Link, score and calibration.


@pytest.mark.parametrize(("target", "shape"), [(Labels(), (7, 3)), (Masks(), (2, 3, 4, 5))])
def test_probabilities_sum_to_one_and_keep_the_prediction(target, shape):
    logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for temperature in (0.5, 1.0, 3.0):
        probabilities = target.probabilities(logits, temperature)
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
        assert np.array_equal(target.predict(probabilities), target.predict(logits))
    assert np.allclose(probabilities, torch.softmax(torch.from_numpy(logits) / 3.0, 1).numpy(), atol=1e-6)


def test_the_score_of_labels_is_accuracy():
    tallies = Labels().tally(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]), CLASSES)
    assert tallies.tolist() == [1, 1, 1, 0] and Labels().score(tallies) == 0.75
    assert math.isnan(Labels().score(tallies[:0]))


def test_the_score_of_masks_is_the_mean_iou_of_all_pixels():
    truth = np.array([[[0, 0, 1, VOID]], [[1, 1, 2, 2]]], dtype=np.uint8)
    tallies = Masks().tally(np.array([[[0, 1, 1, 2]], [[1, 1, 2, 1]]]), truth, CLASSES)
    assert tallies.shape == (2, 3, 3) and tallies.sum() == 7
    assert Masks().score(tallies) == pytest.approx(np.mean([1 / 2, 3 / 5, 1 / 2]))
    assert math.isnan(Masks().score(tallies[:0])) and Masks().tally(truth[:0], truth[:0], CLASSES).shape == (
        0,
        3,
        3,
    )


def test_the_interval_of_labels_is_wilsons():
    assert Labels().interval(np.array([1, 1, 1, 0])) == wilson(3, 4)
    assert Labels().interval(np.array([1, 1])) == wilson(2, 2)
    assert Labels().interval(np.zeros(0, np.int64)) is None


def test_the_interval_of_masks_is_a_bootstrap_over_groups():
    right = np.array([9, 9, 4, 4])
    tallies = np.stack([right, 10 - right, 10 - right, right], axis=1).reshape(4, 2, 2)
    low, high = Masks().interval(tallies, list("baab"))
    assert (low, high) == block_bootstrap(tallies, np.array([1, 0, 0, 1]))
    assert low <= Masks().score(tallies) <= high
    assert Masks().interval(tallies) == block_bootstrap(tallies, np.arange(4))
    assert Masks().interval(tallies, list("aaaa")) is None
    assert Masks().interval(tallies[:0], []) is None and Masks().interval(tallies[:0]) is None


def test_labels_are_calibrated_on_their_logits():
    chance = np.random.default_rng(3)
    labels = chance.integers(0, 3, 400)
    logits = (np.eye(3)[labels] + chance.normal(0, 1, (400, 3))).astype(np.float32)
    alone = [str(i) for i in range(400)]
    sure = Labels().calibrate([HeldOutLogits(20 * logits, labels, alone)], coverage=0.9)
    assert sure.temperature > 5
    assert sure.validation["n"] == sum(sure.validation["scores"]) == 400
    assert sure.validation["accuracy"] == float((logits.argmax(1) == labels).mean())
    in_set = Labels().probabilities(20 * logits, sure.temperature)[np.arange(400), labels] >= sure.sets.threshold
    assert in_set.mean() >= 0.9
    none = HeldOutLogits(np.zeros((0, 3), np.float32), np.zeros(0, np.int64), [])
    empty = Labels().calibrate([none], coverage=0.9)
    nothing = {"n": 0, "accuracy": None, "scores": None}
    assert (empty.validation, empty.temperature, empty.sets.threshold) == (nothing, 1.0, 0.0)
    with pytest.raises(ValueError):
        Labels().calibrate([], coverage=0.9)


def test_models_like_it_sharpen_the_sets_and_not_the_temperature():
    chance = np.random.default_rng(4)
    labels = chance.integers(0, 3, 300)
    logits = (np.eye(3)[labels] + chance.normal(0, 1, (300, 3))).astype(np.float32)
    few, more = (
        HeldOutLogits(logits[:15], labels[:15], list(map(str, range(15)))),
        HeldOutLogits(5 * logits[15:], labels[15:], list(map(str, range(15, 300)))),
    )
    alone, both = (Labels().calibrate(given, coverage=0.95) for given in ([few], [few, more]))
    assert alone.sets.at_least is None and alone.sets.threshold == 0
    assert both.temperature == alone.temperature and both.sets.groups == 300 and both.sets.threshold > 0


def test_masks_keep_their_score():
    calibration = Masks().calibrate([], coverage=0.9, score=0.5, n=12)
    assert (calibration.validation, calibration.temperature) == ({"n": 12, "miou": 0.5}, 1.0)
