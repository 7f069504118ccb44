"""What ships, at its edges: foreign files in a bundle's place, odd pictures, evaluations on other test sets."""

import hashlib
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from foveal.errors import BundleError, DataError, UsageError
from foveal.evaluation.evaluate_classifier import evaluate_labels
from foveal.inference.bundle import load_bundle, save_bundle
from foveal.inference.classifier import ClassificationPredictor
from signed import change


@pytest.fixture
def copy(trained, tmp_path):
    save_bundle(load_bundle(trained[0]), tmp_path / "copy")
    return tmp_path / "copy"


def with_weights(folder, content):
    """Other weights whose hash the manifest does know."""
    (folder / "weights.safetensors").write_bytes(content)
    change(folder, lambda m: m.update(weights_sha256=hashlib.sha256(content).hexdigest()))


def test_weights_that_are_no_safetensors_or_lack_a_tensor(copy):
    from safetensors.numpy import save

    for content in (b"no tensors", save({"other": np.zeros(3, dtype=np.float32)})):
        with_weights(copy, content)
        with pytest.raises(BundleError):
            load_bundle(copy)


def test_a_head_for_other_classes_is_refused(copy):
    from safetensors.numpy import save

    tensors = {"head.weight": np.zeros((2, 1280), dtype=np.float32), "head.bias": np.zeros(2, dtype=np.float32)}
    with_weights(copy, save(tensors))
    with pytest.raises(BundleError):
        load_bundle(copy)


@pytest.mark.parametrize("content", ["[]", "null", '"text"', "7"])
def test_json_that_is_no_object_is_a_bundle_error(copy, content):
    (copy / "bundle.json").write_text(content)
    with pytest.raises(BundleError):
        load_bundle(copy)


def test_new_weights_beside_an_old_manifest_are_noticed(copy, trained):
    """What a crash between the two writes would leave."""
    old = (copy / "bundle.json").read_bytes()
    bundle = load_bundle(copy)
    bundle.head.weight[0, 0] += 1.0
    save_bundle(bundle, copy)
    (copy / "bundle.json").write_bytes(old)
    with pytest.raises(BundleError):
        load_bundle(copy)


def test_modes_sizes_and_kinds_of_open_pictures(trained):
    predictor = ClassificationPredictor.load(trained[0])
    grey = (np.arange(60 * 80).reshape(60, 80) % 251).astype(np.uint8)
    rgb = np.stack([grey] * 3, axis=2)
    opaque = np.dstack([rgb, np.full_like(grey, 255)])
    kinds = [
        Image.fromarray(rgb),
        Image.fromarray(grey),
        Image.fromarray(opaque),
        rgb,
        grey,
        grey[:, :, None],
        opaque,
        (grey.astype(np.uint16) * 257),
        rgb / 255.0,
        rgb.astype(np.float32) / np.float32(255),
        np.asfortranarray(rgb),
    ]
    rows = predictor.probabilities(kinds)
    assert np.abs(rows - rows[0]).max() < 1e-5
    tiny = predictor.probabilities([Image.new("RGB", (1, 1)), np.zeros((1, 900, 3), dtype=np.uint8)])
    assert tiny.shape == (2, 3) and np.isfinite(tiny).all()
    for wrong in (np.zeros((5, 4, 2)), np.zeros(7), np.zeros((0, 5, 3))):
        with pytest.raises((UsageError, DataError)):
            predictor.probabilities([wrong])


def test_the_picture_that_was_given_is_not_changed(trained, photos):
    picture = Image.open(photos / "ant" / "000.jpg")
    array = np.asarray(picture).copy()
    before, size = array.copy(), picture.size
    ClassificationPredictor.load(trained[0]).probabilities([picture, array])
    assert np.array_equal(array, before) and picture.size == size


def test_answers_come_in_the_order_of_the_pictures(trained, photos):
    files = [str(f) for f in sorted(photos.rglob("*.*"))[::3]]
    asked = [f for pair in zip(files, reversed(files), strict=True) for f in pair]
    answers = list(ClassificationPredictor.load(trained[0]).stream(asked, topk=3))
    assert [a.path for a in answers] == asked
    by_name = {a.path: dict(a.topk) for a in answers}
    for answer in answers:
        for label, probability in answer.topk:
            assert abs(probability - by_name[answer.path][label]) < 1e-5
        assert [p for _, p in answer.topk] == sorted((p for _, p in answer.topk), reverse=True)


def test_nothing_asked_nothing_answered(trained):
    predictor = ClassificationPredictor.load(trained[0])
    assert list(predictor.stream([])) == []
    assert predictor.probabilities([]).shape == (0, 3)


def test_an_evaluation_is_counted_by_the_images_not_by_where_they_lie(trained, make_folder, tmp_path, fresh_state):
    folder = make_folder(tmp_path / "here", {"ant": 4, "bee": 4}, seed=4)
    shutil.copytree(folder, tmp_path / "moved")
    assert evaluate_labels(trained[0], folder)["test_looks"] == 1
    assert evaluate_labels(trained[0], tmp_path / "moved")["test_looks"] == 2
    (tmp_path / "moved" / "ant" / "000.jpg").unlink()
    assert evaluate_labels(trained[0], tmp_path / "moved")["test_looks"] == 1  # another set of pictures


def test_a_test_picture_that_is_no_longer_what_it_was_is_left_out_by_name(photos, trained, tmp_path):
    import csv

    with (trained[0] / "split.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    shutil.copytree(photos, tmp_path / "photos")
    shutil.copytree(trained[0] / "model", tmp_path / "run" / "model")
    for row in rows:
        row["path"] = row["path"].replace(str(photos), str(tmp_path / "photos"))
    with (tmp_path / "run" / "split.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    tested = [row["path"] for row in rows if row["split"] == "test"]
    os.unlink(tested[0])
    shutil.copy(tested[2], tested[1])  # another picture under this name
    found = evaluate_labels(tmp_path / "run")
    assert {x["path"]: x["reason"] for x in found["left_out"]} == {tested[0]: "missing", tested[1]: "changed"}
    assert found["test"]["n"] == len(tested) - 2


def test_a_bare_bundle_has_no_test_side_but_can_be_measured(copy, make_folder, tmp_path):
    with pytest.raises(DataError, match=r"split\.csv"):
        evaluate_labels(copy)
    assert evaluate_labels(copy, make_folder(tmp_path / "data", {"ant": 3, "bee": 3}))["test"]["n"] == 6
