"""A bundle is whole or refused; a model answers the same however it is asked."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from foveal.errors import BundleError, UnreadableImage, UsageError
from foveal.inference.bundle import backbone_of, load_bundle, make_bundle, save_bundle, weights_bytes
from foveal.inference.classifier import ClassificationPredictor
from foveal.inference.inputs import find_images
from foveal.metrics.calibration import Calibration, PredictionSets
from foveal.models.trained import TrainedModel
from signed import change


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
    "edit",
    [
        lambda m: m.update(schema=99),
        lambda m: m.pop("classes"),
        lambda m: m.update(backbone_sha256="0" * 64),
        lambda m: m.update(label_map=["not", "a", "mapping"]),
    ],
)
def test_a_manifest_of_something_else_is_refused(copy, edit):
    change(copy, edit)
    with pytest.raises(BundleError):
        list(ClassificationPredictor.load(copy).stream([Image.new("RGB", (40, 40))]))
    (copy / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda m: m.update(temperature=0.5), "hash"),
        (lambda m: m["preprocess"].update(mean=[120.0, 127.0, 127.0]), "hash"),
        (lambda m: m["classes"].reverse(), "hash"),
        (lambda m: m.update(sha256="0" * 64), "hash"),
        (lambda m: m["preprocess"].update(resize="pid"), "resize"),
    ],
)
def test_an_edit_is_refused_however_plausible_it_is(copy, edit, named):
    manifest = json.loads((copy / "bundle.json").read_text())
    edit(manifest)
    (copy / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=named) as refused:
        load_bundle(copy)
    assert "bundle.json" in str(refused.value) and refused.value.hint


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(task="segment"),
        lambda m: m.update(task="compose"),
        lambda m: m.update(label_map={"classes": m["classes"], "values": [0, 1, 2]}),
        lambda m: m["classes"].pop(),
    ],
)
def test_a_signed_manifest_of_another_model_is_refused(copy, edit):
    change(copy, edit)
    with pytest.raises(BundleError):
        load_bundle(copy)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"temperature": NaN}', '{"a": 1e999}', ""])
def test_json_that_foveal_never_writes_is_refused(copy, content):
    (copy / "bundle.json").write_text(content)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load_bundle(copy)


WEIGHT, BIAS = np.ones((3, 1280), dtype=np.float32), np.ones(3, dtype=np.float32)


@pytest.mark.parametrize(
    ("weight", "bias", "named"),
    [
        (WEIGHT * np.nan, BIAS, "head.weight"),
        (WEIGHT, BIAS * np.inf, "head.bias"),
        (WEIGHT, BIAS[:1], "head.bias"),
        (WEIGHT, np.ones((3, 3), dtype=np.float32), "head.bias"),
        (WEIGHT.astype(np.int64), BIAS, "head.weight"),
        (WEIGHT.astype(np.float64), BIAS, "head.weight"),
        (WEIGHT[:, :77], BIAS, "head.weight"),
        (WEIGHT[0], BIAS, "head.weight"),
        (WEIGHT.astype(np.float32) * np.float32(3e38), BIAS, "finite"),
    ],
)
def test_tensors_that_are_no_head_of_this_backbone_are_refused(copy, weight, bias, named):
    content = weights_bytes({"head.weight": weight, "head.bias": bias})
    (copy / "weights.safetensors").write_bytes(content)
    change(copy, lambda m: m.update(weights_sha256=hashlib.sha256(content).hexdigest(), unknown=None))
    with pytest.raises(BundleError, match=named):
        list(ClassificationPredictor.load(copy).stream([Image.new("RGB", (40, 40))]))


@pytest.fixture
def digits(tmp_path):
    save_bundle(load_bundle("model:mnist"), tmp_path / "digits")
    return tmp_path / "digits"


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m["network"]["stages"][0].__setitem__(0, 10**9),
        lambda m: m["network"]["stages"][0].__setitem__(1, 25),
        lambda m: m["network"].update(stages=[[24] * 10] * 15),
        lambda m: m["network"].update(classes=12),
        lambda m: m["network"].update(classes="11"),
        lambda m: m["network"].update(kernel=0),
        lambda m: m["network"].update(stride=-2),
        lambda m: m["network"].update(dropout=float("nan")),
        lambda m: m["network"].update(architecture="ensemble"),
        lambda m: m["network"].update(architecture=["small"]),
        lambda m: m.update(network={"architecture": "ensemble", "member": m["network"], "count": 10**9}),
        lambda m: m.update(network={"architecture": "shifted", "inner": 5, "pixels": 1}),
        lambda m: m.update(outside=False),
        lambda m: m["classes"].pop(),
        lambda m: m["preprocess"].update(channels=3),
        lambda m: m["preprocess"].update(size=1),
    ],
)
def test_a_network_that_does_not_fit_its_weights_images_or_classes_is_refused(digits, edit):
    change(digits, edit)
    with pytest.raises(BundleError) as refused:
        list(ClassificationPredictor.load(digits).stream([Image.new("L", (40, 40), 255)]))
    assert refused.value.hint


def test_a_bundle_of_a_trained_model_says_what_it_is(trained):
    given = load_bundle(trained[0])
    backbone = backbone_of(given)
    model = TrainedModel.of_head(given.head, given.manifest.preprocess, backbone, ("plain", "mirror"))
    made = make_bundle(
        model,
        task="classify",
        classes=["x", "y", "z"],
        label_map=None,
        calibration=Calibration({"n": 12, "accuracy": 0.5}, 1.5, PredictionSets(0.9, 0.25)),
        provenance={"strategy": "by hand", "data": "none"},
        unknown=(given.manifest.unknown, given.unknown),
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
    assert first.label in first.set and first.unknown == (first.p_value <= 0.05)
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
