"""The automatic trial with classes held out, and what a run makes of it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import pictures
from foveal.clock import Clock, Deadline
from foveal.config import TrainConfig
from foveal.errors import BundleError, UsageError
from foveal.files import sha256_of
from foveal.inference.bundle import load_bundle
from foveal.inference.classifier import ClassificationPredictor
from foveal.metrics.unknown import DEFAULT_SCORE, SCORES
from foveal.training.unknown import choose_score, forget_classes, sample
from signed import change

FOREVER = Deadline(Clock())


def features_of(classes, n=20, width=16):
    centres = 5 * np.random.default_rng(1).normal(size=(classes, width))
    labels = np.repeat(np.arange(classes), n)
    noise = np.random.default_rng(2).normal(size=(len(labels), width))
    return (centres[labels] + noise).astype(np.float32), labels


def forgotten(classes):
    features, labels = features_of(classes)
    folds = np.arange(len(labels)) % 5
    groups = [str(i) for i in range(len(labels))]
    return forget_classes(features, labels, folds, groups, tuple(SCORES), FOREVER)


def test_each_class_is_forgotten_in_turn():
    refused = forgotten(4)
    assert sorted(refused) == [0, 1, 2, 3]
    for by_score in refused.values():
        assert set(by_score) == set(SCORES) and all(len(p) == 20 for p in by_score.values())
        assert (by_score[DEFAULT_SCORE] <= 0.05).mean() > 0.8


def test_two_classes_are_too_few_and_many_are_not_all_tried():
    assert forgotten(2) == {} and choose_score({}, 0.05)[0] == DEFAULT_SCORE
    assert 3 <= len(forgotten(14)) <= 10


@pytest.mark.parametrize(("lead", "chosen"), [(0.0, DEFAULT_SCORE), (0.01, DEFAULT_SCORE), (0.5, "residual")])
def test_another_score_is_chosen_only_if_it_is_clearly_better(lead, chosen):
    generator = np.random.default_rng(0)
    refused = {}
    for label in range(6):
        share = 0.4 + generator.normal() * 0.05
        rows = {score: share + generator.normal() * 0.05 for score in SCORES}
        rows["residual"] = rows[DEFAULT_SCORE] + lead + generator.normal() * 0.05
        refused[label] = {
            score: (np.arange(100) >= 100 * value).astype(np.float32) for score, value in rows.items()
        }
        refused[label]["mahalanobis+residual"] = np.ones(100, np.float32)
    assert choose_score(refused, 0.05)[0] == chosen


def test_a_sample_keeps_groups_whole():
    records = [SimpleNamespace(number=i, group=f"g{i // 7}") for i in range(700)]
    some = sample(records, 0, most=100)
    assert 100 <= len(some) < 107 and [p for p in records if p in some] == some
    assert all(sum(p.group == q.group for q in some) == 7 for p in some)
    assert sample(records, 0) == records and sample(records, 1, most=100) != some


def test_the_rate_has_a_range():
    for rate in (0.0, 0.6, -1.0):
        with pytest.raises(UsageError):
            TrainConfig(unknown_rate=rate)


def test_a_run_marks_images_unlike_its_own(trained, photos):
    run, summary = trained
    found = summary["unknown"]
    assert found["score"] in SCORES and found["false_alarm_rate"] == 0.05
    low, high = found["test"]["ci95"]
    assert low <= 0.05 <= high and found["test"]["n"] == summary["test"]["n"]
    assert sorted(row["class"] for row in found["trial"]) == ["ant", "bee", "cat"]
    assert found["refused"] == pytest.approx(np.mean([row["refused"] for row in found["trial"]]))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    files = sorted(photos.rglob("*.jpg"))
    *usual, strange, black = ClassificationPredictor.load(run).stream(
        [*files, Image.fromarray(noise), Image.new("RGB", (64, 64))]
    )
    assert strange.unknown and black.unknown and strange.p_value <= 0.05
    assert np.mean([p.unknown for p in usual]) < 0.2
    assert "had " in (page := (run / "report.html").read_text()) and "was held out" in page
    rule = load_bundle(run).manifest.unknown
    assert rule.images == summary["refit"]["images"] and rule.score == found["score"]
    measured = load_bundle(run / "measured")
    assert measured.unknown is not None and measured.manifest.unknown.images == found["images"]


def copied(trained, folder):
    """The files of the bundle, elsewhere."""
    folder.mkdir()
    for name in ("bundle.json", "weights.safetensors"):
        (folder / name).write_bytes((trained[0] / "model" / name).read_bytes())
    return folder


def with_tensors(folder, edit):
    """Edit the tensors of a bundle, and sign it."""
    tensors = load_file(folder / "weights.safetensors")
    edit(tensors)
    save_file(tensors, folder / "weights.safetensors")
    change(folder, lambda m: m.update(weights_sha256=sha256_of(folder / "weights.safetensors")))


@pytest.mark.parametrize(
    "edit",
    [
        lambda t: t.pop("unknown.scores"),
        lambda t: t.update({"unknown.weights": t["unknown.weights"][1:]}),
        lambda t: t.update({"unknown.centre": np.full_like(t["unknown.centre"], np.nan)}),
        lambda t: t.update({k: t[k][:, 1:] for k in ("unknown.centre", "unknown.directions")}),
    ],
)
def test_a_detector_that_does_not_fit_is_refused(trained, tmp_path, edit):
    folder = copied(trained, tmp_path / "copy")
    with_tensors(folder, edit)
    with pytest.raises(BundleError):
        load_bundle(folder)


def test_an_edit_without_the_hash_is_refused(trained, tmp_path):
    folder = copied(trained, tmp_path / "copy")
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["unknown"]["rate"] = 0.5
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="hash"):
        load_bundle(folder)


def test_a_bundle_of_an_earlier_version_says_nothing(trained, tmp_path):
    folder = copied(trained, tmp_path / "copy")
    with_tensors(folder, lambda t: [t.pop(name) for name in list(t) if name.startswith("unknown.")])
    change(folder, lambda m: m.pop("unknown"))
    made = next(ClassificationPredictor.load(folder).stream([pictures.draw(1)]))
    assert made.unknown is None and made.p_value is None and made.label
