"""The story with masks: a run folder, an evaluation, predicted masks, the Python door; nothing of it lost."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import by_colour
import foveal
import masked
from foveal.cli.main import app
from foveal.errors import BundleError, DataError, UnknownName, UsageError
from foveal.fit import segment_route
from foveal.flow import resume, train
from foveal.models import networks
from foveal.ship.evaluate_masks import evaluate_masks
from foveal.ship.mask_output import as_palette
from foveal.ship.masks import MaskPredictor
from foveal.ship.rle import decode
from foveal.values import Legend


@pytest.fixture(scope="module", autouse=True)
def quick():
    """A rung that takes a second, and its network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_route, "RUNGS", (by_colour.Colours(),))
        patch.setattr(networks, "build", by_colour.made)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return masked.write_pairs(tmp_path_factory.mktemp("pairs"), 30)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return train(data, out=str(tmp_path_factory.mktemp("runs") / "run"))


def test_the_task_is_found_out_and_the_run_folder_is_as_promised(run):
    path, summary = run
    stored = json.loads((path / "summary.json").read_text())
    assert stored["task"] == "segment" and stored["status"] == "done"
    assert stored["data"]["classes"] == list(masked.CLASSES) and stored["data"]["used"] == 30
    test = stored["test"]
    assert test["n"] == summary["split"]["test"] >= 3 and test["miou"] > 0.9 and test["pixel_accuracy"] > 0.95
    low, high = test["miou_ci95"]
    assert low <= test["miou"] <= high <= 1
    assert test["boundary_f1"] > 0.8 and [c["label"] for c in test["per_class"]] == list(masked.CLASSES)
    bundle = json.loads((path / "model" / "bundle.json").read_text())
    assert bundle["task"] == "segment" and bundle["legend"]["void"] == [255]
    page = (path / "report.html").read_text()
    assert (
        "mean IoU" in page
        and page.count("data:image/jpeg") >= 3 * 3
        and "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    )


def test_a_run_that_was_stopped_goes_on(run, tmp_path):
    path, summary = run
    copy = tmp_path / "run"
    shutil.copytree(path, copy)
    (copy / "summary.json").unlink()
    _, again = resume(str(copy))
    assert again["test"]["miou"] == summary["test"]["miou"] and again["task"] == "segment"


def test_evaluate_on_the_own_test_side_and_on_other_data(run, tmp_path):
    path, summary = run
    own = evaluate_masks(path)
    assert own["test"]["confusion"] == summary["test"]["confusion"] and not own["left_out"]
    other = masked.write_pairs(tmp_path / "new", 6, seed=9)
    (other / "classes.txt").write_text("green\nground\nred\n")  # other numbers, the same names
    for file in (other / "masks").iterdir():
        mask = np.asarray(Image.open(file))
        Image.fromarray(np.array([1, 2, 0] + [255] * 253, dtype=np.uint8)[mask]).save(file)
    found = evaluate_masks(path, other)
    assert found["test"]["n"] == 6 and found["test"]["miou"] > 0.9 and not found["findings"]
    (other / "classes.txt").write_text("green\nground\nblue\n")
    (finding,) = evaluate_masks(path, other)["findings"]
    assert finding["code"] == "classes_not_of_the_model" and "blue (" in finding["message"]
    (other / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(UnknownName):
        evaluate_masks(path, other)


def test_evaluate_names_what_is_gone(run, tmp_path, data):
    copy = shutil.copytree(data, tmp_path / "data")
    path, _ = train(copy, out=str(tmp_path / "run"))
    victim = next(r for r in (path / "split.csv").read_text().splitlines() if ",test," in r).split(",")[0]
    Image.new("RGB", (64, 48)).save(victim)
    found = evaluate_masks(path)
    assert [x["reason"] for x in found["left_out"]] == ["changed"]


def test_predicted_masks_have_the_users_numbers_and_the_code_is_the_mask(run, tmp_path, capsys, data):
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
    assert ended.value.code == 0
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


def test_masks_never_take_the_place_of_pictures_or_of_masks_made_by_hand(run, tmp_path, data):
    """`--out` was the folder of the pictures, and 0.png became its own mask."""
    path, _ = run
    copy = shutil.copytree(data, tmp_path / "data")
    before = {f: f.read_bytes() for f in copy.rglob("*") if f.is_file()}
    first = sorted((copy / "images").iterdir())[0]
    with pytest.raises(UsageError, match="one of the pictures that are asked about"):
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


def test_a_picture_too_large_for_a_network_without_tiles_is_one_error_among_the_answers(run, monkeypatch, data):
    predictor = MaskPredictor.load(run[0])

    def refuse(picture, name):
        if name.endswith("1.png"):
            raise UsageError("too large for one pass")
        return answer(picture, name)

    answer = predictor.answer
    monkeypatch.setattr(predictor, "answer", refuse)
    pictures = sorted(map(str, (data / "images").iterdir()))[:3]
    found = list(predictor.stream(pictures))
    assert [p.error is None for p in found] == [not p.endswith("1.png") for p in pictures]


def test_torch_answers_until_compiling_is_worth_it(run, monkeypatch, fresh_cache):
    picture, _ = masked.draw_pair(79)
    predictor = MaskPredictor.load(run[0])
    first, _ = predictor.logits(picture)
    assert predictor.engine_name == "torch-f32" and "too few" in predictor.engine_reason
    monkeypatch.setattr("foveal.ship.masks._WORTH_COMPILING", 0.0)
    second, _ = predictor.logits(picture)
    assert predictor.engine_name.startswith("openvino") and "same as torch" in predictor.engine_reason
    assert (first.argmax(0) == second.argmax(0)).mean() > 0.99
    monkeypatch.setattr("foveal.ship.masks._WORTH_COMPILING", 1000.0)
    elsewhere = MaskPredictor.load(run[0])
    elsewhere.logits(picture)
    assert elsewhere.engine_name == predictor.engine_name  # it is ready: nothing has to be compiled for it


def test_a_picture_of_any_size_in_tiles_is_the_picture_in_one_piece(run, monkeypatch):
    predictor = MaskPredictor.load(run[0], precision="f32")
    picture, _ = masked.draw_pair(77, (203, 151))
    whole, pieces = predictor.logits(picture)
    assert whole.shape == (3, 151, 203) and pieces == 1
    tiled = MaskPredictor.load(run[0], precision="f32", memory=1)
    monkeypatch.setattr(tiled, "_longest_side", lambda *_: 64)
    found, count = tiled.logits(picture)
    assert count > 8 and np.abs(found - whole).max() < 1e-4


def test_memory_decides_about_tiles(run):
    picture, _ = masked.draw_pair(78, (320, 256))
    plenty = MaskPredictor.load(run[0], memory=1 << 30)
    short = MaskPredictor.load(run[0], memory=3 << 19)
    (a, one), (b, many) = plenty.logits(picture), short.logits(picture)
    assert one == 1 < many and (a.argmax(0) == b.argmax(0)).mean() > 0.999


def test_in_python(data, tmp_path):
    names = str(data / "classes.txt")
    model = foveal.Segmenter(time="60s", classes=names, out=str(tmp_path / "run")).fit(
        sorted((data / "images").iterdir()), sorted((data / "masks").iterdir())
    )
    assert model.classes_.tolist() == list(masked.CLASSES)
    picture, truth = masked.draw_pair(5)
    (mask,) = model.predict(picture)
    known = np.asarray(truth) != 255
    assert (mask == np.asarray(truth))[known].mean() > 0.95
    again = foveal.load(tmp_path / "run")
    assert isinstance(again, foveal.Segmenter) and np.array_equal(again.predict(np.asarray(picture))[0], mask)
    assert again.score(data) == model.evaluate(data)["test"]["miou"] > 0.9
    with pytest.raises(DataError):
        model.predict(str(tmp_path / "absent.png"))


def test_a_classifier_gives_no_masks(trained):
    with pytest.raises(BundleError, match="labels"):
        MaskPredictor.load(trained[0])


def test_the_palette_keeps_numbers_and_colours():
    legend = Legend(("sky", "road"), (7, 3), ((10, 20, 30), (200, 100, 0)))
    picture = as_palette(np.array([[0, 1]], dtype=np.uint8), legend)
    assert np.asarray(picture).tolist() == [[7, 3]]
    assert np.asarray(picture.convert("RGB")).tolist() == [[[10, 20, 30], [200, 100, 0]]]
