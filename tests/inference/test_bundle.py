"""A bundle is whole or refused; a model answers the same however it is asked."""

import json

import numpy as np
import pytest
from PIL import Image

from foveal.errors import BundleError, UnreadableImage, UsageError
from foveal.inference.bundle import backbone_of, load_bundle, make_bundle, save_bundle
from foveal.inference.classifier import ClassificationPredictor
from foveal.inference.inputs import find_images
from foveal.metrics.calibration import Calibration
from foveal.models.trained import TrainedModel
from foveal.values import LabelMap


def test_round_trip_to_the_bit(trained, tmp_path):
    bundle = load_bundle(trained[0])
    save_bundle(bundle, tmp_path / "copy")
    again = load_bundle(tmp_path / "copy")
    assert again.manifest == bundle.manifest
    assert np.array_equal(again.head.weight, bundle.head.weight) and np.array_equal(
        again.head.bias, bundle.head.bias
    )
    assert load_bundle(trained[0] / "model").manifest == bundle.manifest


@pytest.fixture
def copy(trained, tmp_path):
    save_bundle(load_bundle(trained[0]), tmp_path / "copy")
    return tmp_path / "copy"


def test_damage_is_noticed(copy):
    weights = copy / "weights.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(BundleError):
        load_bundle(copy)
    weights.unlink()
    with pytest.raises(BundleError):
        load_bundle(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(schema=99),
        lambda m: m.pop("classes"),
        lambda m: m.update(backbone_sha256="0" * 64),
        lambda m: m.update(label_map=["not", "a", "mapping"]),
    ],
)
def test_a_manifest_of_something_else_is_refused(copy, change):
    manifest = json.loads((copy / "bundle.json").read_text())
    change(manifest)
    (copy / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError):
        list(ClassificationPredictor.load(copy).stream([Image.new("RGB", (40, 40))]))
    (copy / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load_bundle(copy)


def test_a_label_map_is_read_under_the_key_of_earlier_bundles(copy):
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["label_map"] = {"classes": ["sky", "road"], "values": [7, 3], "void": [255]}
    (copy / "bundle.json").write_text(json.dumps(manifest))
    expected = LabelMap(("sky", "road"), (7, 3))
    assert load_bundle(copy).manifest.label_map == expected
    manifest["legend"] = manifest.pop("label_map")
    (copy / "bundle.json").write_text(json.dumps(manifest))
    assert load_bundle(copy).manifest.label_map == expected


def test_a_bundle_of_a_trained_model_says_what_it_is(trained):
    given = load_bundle(trained[0])
    backbone = backbone_of(given)
    model = TrainedModel.of_head(given.head, given.manifest.preprocess, backbone, ("plain", "mirror"))
    made = make_bundle(
        model,
        task="classify",
        classes=["x", "y", "z"],
        label_map=None,
        calibration=Calibration({"n": 12, "accuracy": 0.5}, 1.5, 0.25),
        provenance={"strategy": "by hand", "data": "none"},
    )
    manifest = made.manifest
    assert manifest.classes == ("x", "y", "z") and manifest.views == ("plain", "mirror")
    assert (manifest.temperature, manifest.set_threshold) == (1.5, 0.25)
    assert (
        manifest.backbone == given.manifest.backbone and manifest.weights_sha256 == given.manifest.weights_sha256
    )
    assert manifest.provenance["validation"]["n"] == 12 and manifest.provenance["strategy"] == "by hand"


def test_path_picture_and_array_get_the_same_answer(trained, photos):
    predictor = ClassificationPredictor.load(trained[0])
    file = next(photos.rglob("*.png"))
    picture = Image.open(file)
    asked = [file, str(file), picture, np.asarray(picture), np.asarray(picture) / 255.0]
    rows = predictor.probabilities(asked)
    assert rows.shape == (5, 3) and np.allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(rows[0], rows[1]) and np.abs(rows - rows[0]).max() < 1e-5


def test_a_bad_picture_is_an_answer_in_a_stream_and_an_error_elsewhere(trained, photos, tmp_path):
    predictor = ClassificationPredictor.load(trained[0])
    good = next(photos.rglob("*.jpg"))
    answers = list(predictor.stream([good, tmp_path / "absent.jpg", good], topk=2))
    assert [a.error is None for a in answers] == [True, False, True]
    assert answers[1].error.startswith("missing") and answers[1].label is None
    first = answers[0]
    assert first.label == first.topk[0][0] and first.probability == first.topk[0][1] and len(first.topk) == 2
    assert first.label in first.set and first.unknown is None
    with pytest.raises(UnreadableImage):
        predictor.probabilities([tmp_path / "absent.jpg"])
    with pytest.raises(UsageError):
        list(predictor.stream([good], topk=0))
    with pytest.raises(UsageError):
        predictor.probabilities([np.zeros((3, 4, 5, 6))])


def test_a_stream_takes_no_more_than_it_needs(trained, photos):
    taken = []
    file = str(next(photos.rglob("*.png")))

    def endless():
        while True:
            taken.append(1)
            yield file

    stream = ClassificationPredictor.load(trained[0]).stream(endless())
    for _ in range(10):
        next(stream)
    stream.close()
    assert len(taken) <= 32 * 8


def test_the_answer_sets_cover_what_they_promise(trained, photos):
    """Nine in ten, less what chance does to 120 pictures of which some were trained on."""
    predictor = ClassificationPredictor.load(trained[0])
    files = sorted(photos.rglob("*.*"))
    answers = list(predictor.stream(map(str, files)))
    assert np.mean([f.parent.name in a.set for f, a in zip(files, answers, strict=True)]) >= 0.85


def test_pictures_are_found_by_file_folder_and_glob(photos, tmp_path):
    every = sorted(str(f) for f in photos.rglob("*.*"))
    assert sorted(find_images([photos])) == every
    assert sorted(find_images([f"{photos}/**/*.png"])) == [f for f in every if f.endswith("png")]
    assert list(find_images([every[0], "absent.jpg"])) == [every[0], "absent.jpg"]
    odd = tmp_path / "with [brackets].jpg"
    odd.write_bytes(b"x")
    assert list(find_images([odd])) == [str(odd)]
    with pytest.raises(UsageError):
        find_images([every[0], f"{tmp_path}/*.webp"])  # before the first file is handed out
