"""A run on images with masks: its folder, evaluation, predicted masks, and the same from Python."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import by_colour
import foveal
import masked
from foveal.cli.main import app
from foveal.config import TrainConfig
from foveal.errors import BundleError, DataError, UnknownName, UsageError
from foveal.evaluation.evaluate_segmenter import evaluate_masks
from foveal.files import read_json
from foveal.flow import replay, resume, train
from foveal.inference.bundle import load_bundle
from foveal.inference.outputs.mask_files import as_palette
from foveal.inference.outputs.rle import decode
from foveal.inference.segmenter import SegmentationPredictor
from foveal.models.networks import register_architecture
from foveal.values import LabelMap
from registered import restored_registries

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def quick():
    """A strategy that takes a second, and its network."""
    with by_colour.by_colour():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return masked.write_pairs(tmp_path_factory.mktemp("pairs"), 30)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return train(data, out=str(tmp_path_factory.mktemp("runs") / "run"))


def test_the_task_is_recognised_and_the_run_folder_is_as_promised(run):
    path, summary = run
    stored = json.loads((path / "summary.json").read_text())
    assert stored["task"] == "segment" and stored["status"] == "done"
    assert stored["data"]["classes"] == list(masked.CLASSES) and stored["data"]["used"] == 30
    test = stored["test"]
    assert not stored["refit"]["done"] and stored["refit"]["reason"] and not (path / "measured").exists()
    assert test["n"] == summary["split"]["test"] >= 3 and test["miou"] > 0.9 and test["pixel_accuracy"] > 0.95
    low, high = test["miou_ci95"]
    assert low <= test["miou"] <= high <= 1
    assert test["boundary_f1"] > 0.8 and [c["label"] for c in test["per_class"]] == list(masked.CLASSES)
    bundle = json.loads((path / "model" / "bundle.json").read_text())
    assert bundle["task"] == "segment" and bundle["label_map"]["void"] == [255]
    page = (path / "report.html").read_text()
    assert (
        "Mean IoU" in page
        and page.count("data:image/jpeg") >= 3 * 3
        and "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    )


def test_a_resumed_and_a_replayed_run_have_the_same_weights(run, tmp_path):
    path, summary = run
    copy, weights = tmp_path / "run", (path / "model" / "weights.safetensors").read_bytes()
    shutil.copytree(path, copy)
    (copy / "summary.json").unlink()
    _, resumed = resume(str(copy))
    replayed_path, replayed = replay(str(path), out=str(tmp_path / "replayed"))
    for folder, again in ((copy, resumed), (replayed_path, replayed)):
        assert (folder / "model" / "weights.safetensors").read_bytes() == weights
        assert again["test"]["miou"] == summary["test"]["miou"] and again["task"] == "segment"
    decisions = read_json(path / "config.json")["decisions"]
    assert decisions["strategy"]["value"] == "colours" and decisions["route"]["value"]["name"] == "segmentation"


def test_evaluate_on_the_own_test_subset_and_on_other_data(run, tmp_path):
    path, summary = run
    own = evaluate_masks(path)
    assert own["test"]["confusion"] == summary["test"]["confusion"] and not own["left_out"]
    other = masked.write_pairs(tmp_path / "new", 6, seed=9)
    (other / "classes.txt").write_text("green\nground\nred\n")  # other numbers, the same names
    for file in (other / "masks").iterdir():
        mask = np.asarray(Image.open(file))
        Image.fromarray(np.array([1, 2, 0] + [255] * 253, dtype=np.uint8)[mask]).save(file)
    evaluated = evaluate_masks(path, other)
    assert evaluated["test"]["n"] == 6 and evaluated["test"]["miou"] > 0.9 and not evaluated["findings"]
    (other / "classes.txt").write_text("green\nground\nblue\n")
    (finding,) = evaluate_masks(path, other)["findings"]
    assert finding["code"] == "classes_not_of_the_model" and "blue" in finding["message"]
    (other / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(UnknownName):
        evaluate_masks(path, other)


def test_evaluate_leaves_training_images_out(run, data):
    path, summary = run
    own, other = evaluate_masks(path), evaluate_masks(path, data)
    assert other["test"]["confusion"] == own["test"]["confusion"]
    split = summary["split"]
    assert other["left_out_counts"]["seen_in_training"] == split["train"] + split["val"]
    assert other["images"] == other["test"]["n"] + len(other["left_out"])
    everything = evaluate_masks(path, data, include_seen=True)
    assert everything["test"]["n"] == sum(split.values()) and everything["seen"] == split["train"] + split["val"]


def test_evaluate_keeps_to_the_runs_limit_on_pixels(data, tmp_path):
    path, _ = train(data, TrainConfig(max_pixels=64 * 48), out=str(tmp_path / "run"))
    other = masked.write_pairs(tmp_path / "other", 3, seed=8)
    masked.write_pairs(other, 2, size=(80, 60), seed=9, names="large{:c}x{}")
    found = evaluate_masks(path, other)
    assert (found["test"]["n"], found["left_out_counts"]) == (3, {"too_many_pixels": 2})


def test_evaluate_names_what_is_gone(run, tmp_path, data):
    copy = shutil.copytree(data, tmp_path / "data")
    path, _ = train(copy, out=str(tmp_path / "run"))
    victim = next(r for r in (path / "split.csv").read_text().splitlines() if ",test," in r).split(",")[0]
    Image.new("RGB", (64, 48)).save(victim)
    evaluated = evaluate_masks(path)
    assert [x["reason"] for x in evaluated["left_out"]] == ["changed"]


def test_predicted_masks_have_the_users_values_and_the_run_length_code_is_the_mask(run, tmp_path, capsys, data):
    path, _ = run
    with pytest.raises(SystemExit) as ended:
        app(
            [
                "predict",
                str(path),
                str(data / "images"),
                str(tmp_path / "no.png"),
                "--out",
                str(tmp_path / "out"),
                "--json",
            ]
        )
    assert ended.value.code == 1  # one image is missing
    rows = json.loads(capsys.readouterr().out)["predictions"]
    assert len(rows) == 31 and rows[-1]["error"].startswith("missing")
    for row in rows[:4]:
        with Image.open(row["mask"]) as written:
            assert written.mode == "P" and written.size == (64, 48)
            values = np.asarray(written)
        for segment in row["segments"]:
            assert np.array_equal(decode(segment["rle"]), values == segment["value"])
        assert sum(s["share"] for s in row["segments"]) == pytest.approx(1)
        with Image.open(row["overlay"]) as drawn:
            assert drawn.width >= 480
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"] == rows


def test_predicted_masks_never_overwrite_images_or_masks_made_by_hand(run, tmp_path, data):
    """`--out` was the folder of the images, and 0.png became its own mask."""
    path, _ = run
    copy = shutil.copytree(data, tmp_path / "data")
    before = {f: f.read_bytes() for f in copy.rglob("*") if f.is_file()}
    first = sorted((copy / "images").iterdir())[0]
    with pytest.raises(UsageError, match=first.name):
        app(["predict", str(path), str(first), "--out", str(copy / "images")])
    assert _ended(["predict", str(path), str(first), "--out", str(copy / "masks")]) == 0
    assert {f: f.read_bytes() for f in before} == before
    assert (copy / "masks" / f"{first.stem}-2.png").is_file()
    assert _ended(["predict", str(path), str(first), "--out", str(copy / "masks")]) == 0
    assert len([f for f in (copy / "masks").glob("*.png") if f not in before]) == 1  # its own mask is written anew


def _ended(arguments):
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    return ended.value.code


class SeesAll(by_colour.ByColour):
    """A network whose prediction for each pixel depends on the whole image: it can't be cut into tiles."""

    def forward(self, x):
        return super().forward(x) + x.mean()


def test_an_image_too_large_for_a_network_without_tiles_is_one_error_among_the_predictions(run):
    images = [masked.draw_pair(i, size)[0] for i, size in enumerate([(64, 48), (320, 256), (64, 48)])]
    with restored_registries():
        register_architecture("by-colour", SeesAll)
        predictions = list(SegmentationPredictor.load(run[0], memory=3 << 19).stream(images))
    assert [p.error is None for p in predictions] == [True, False, True]
    assert predictions[1].error.startswith("too_large") and predictions[1].path == "<image 1>"


def test_torch_predicts_until_compiling_is_worth_it(run, fresh_cache):
    image, _ = masked.draw_pair(79)
    predictor = SegmentationPredictor(load_bundle(run[0]), compile_after=1e-9)
    first, _ = predictor.logits(image)
    assert predictor.engine_name == "torch-fp32"
    second, _ = predictor.logits(image)
    assert predictor.engine_name.startswith("openvino")
    assert (first.argmax(0) == second.argmax(0)).mean() > 0.99
    elsewhere = SegmentationPredictor(load_bundle(run[0]), compile_after=1000.0)
    elsewhere.logits(image)
    assert elsewhere.engine_name == predictor.engine_name  # it is ready: nothing has to be compiled for it


def test_an_engine_that_was_decided_is_used_from_the_first_image_on(run, fresh_cache):
    image, _ = masked.draw_pair(79)
    for engine in ("openvino-fp32", "torch-fp32"):
        predictor = SegmentationPredictor(load_bundle(run[0]), compile_after=1e-9, engine=engine)
        for _ in range(2):
            predictor.logits(image)
            assert predictor.engine_name == engine


def test_an_image_in_tiles_is_the_image_in_one_piece(run):
    image, _ = masked.draw_pair(77, (203, 151))
    whole, tiles = SegmentationPredictor.load(run[0], precision="fp32").logits(image)
    assert whole.shape == (3, 151, 203) and tiles == 1
    tiled, tiles = SegmentationPredictor.load(run[0], precision="fp32", memory=300_000).logits(image)
    assert tiles > 8 and np.abs(tiled - whole).max() < 1e-4


def test_memory_decides_about_tiles(run):
    image, _ = masked.draw_pair(78, (320, 256))
    plenty = SegmentationPredictor.load(run[0], memory=1 << 30)
    short = SegmentationPredictor.load(run[0], memory=3 << 19)
    (a, one), (b, many) = plenty.logits(image), short.logits(image)
    assert one == 1 < many and (a.argmax(0) == b.argmax(0)).mean() > 0.999


def test_in_python(data, tmp_path):
    names = str(data / "classes.txt")
    model = foveal.Segmenter(time="60s", classes=names, out=str(tmp_path / "run")).fit(
        sorted((data / "images").iterdir()), sorted((data / "masks").iterdir())
    )
    assert model.classes_.tolist() == list(masked.CLASSES)
    image, target = masked.draw_pair(5)
    (mask,) = model.predict(image)
    labelled = np.asarray(target) != 255
    assert (mask == np.asarray(target))[labelled].mean() > 0.95
    again = foveal.load(tmp_path / "run")
    assert isinstance(again, foveal.Segmenter) and np.array_equal(again.predict(np.asarray(image))[0], mask)
    with pytest.warns(UserWarning, match="were trained on"):
        score = again.score(data)
    assert score == model.evaluate(data, include_seen=True)["test"]["miou"] > 0.9
    with pytest.raises(DataError):
        model.predict(str(tmp_path / "absent.png"))


def test_a_classifier_is_not_loaded_as_a_segmenter(trained):
    with pytest.raises(BundleError):
        SegmentationPredictor.load(trained[0])


def test_the_palette_keeps_values_and_colours():
    label_map = LabelMap(("sky", "road"), (7, 3), ((10, 20, 30), (200, 100, 0)))
    image = as_palette(np.array([[0, 1]], dtype=np.uint8), label_map)
    assert np.asarray(image).tolist() == [[7, 3]]
    assert np.asarray(image.convert("RGB")).tolist() == [[[10, 20, 30], [200, 100, 0]]]
