"""Several labels for each image from end to end: by one estimator, and by the commands on the run that it made."""

import csv
import json
import pickle

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score

import foveal
from foveal import ImageClassifier, flow
from foveal.cli.main import app
from foveal.errors import DataError, UnknownName, UsageError
from foveal.evaluation.compare_runs import compare_runs
from foveal.evaluation.suspects import find_suspects
from foveal.files import read_json
from foveal.inference.bundle import load_bundle
from foveal.inference.label_columns import LabelColumns, are_label_rows, label_rows
from foveal.inference.multi_label import MultiLabelPredictor
from foveal.serving.answers import answers_of
from shapes import NAMES, write_shapes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """(table, labels of each image)."""
    return write_shapes(tmp_path_factory.mktemp("shapes"), 90)


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    """Fitted on lists of labels."""
    table, labels = data
    paths = [str(table.parent / f"{i:03d}.png") for i in range(len(labels))]
    out = tmp_path_factory.mktemp("runs") / "run"
    return ImageClassifier(strategy="frozen", time="10m", out=out).fit(paths, labels)


def command(*arguments):
    with pytest.raises(SystemExit) as ended:
        app([str(a) for a in arguments])
    return ended.value.code


def test_a_run_has_figures_for_each_label(model):
    summary, config = model.summary_, read_json(model.run_ / "config.json")
    test = summary["test"]
    assert summary["task"] == config["task"] == "multi-label"
    assert test["map"] > 0.8 and test["map_ci95"][0] < test["map"] <= test["map_ci95"][1]
    assert [row["label"] for row in test["per_class"]] == list(NAMES) == summary["data"]["classes"]
    assert summary["strategy"]["candidates"][0]["score"] > 0.9 and summary["refit"]["done"]
    manifest = load_bundle(model.run_).manifest
    assert len(manifest.thresholds) == 3 and all(0 < t < 1 for t in manifest.thresholds)
    assert (model.run_ / "report.html").read_text().count('<th scope="row">ball<td') == 1


def test_the_estimator_speaks_as_scikit_learn_does(model, data):
    table, labels = data[0], data[1][:24]
    paths = [table.parent / f"{i:03d}.png" for i in range(len(labels))]
    wanted = np.array([[name in row for name in NAMES] for row in labels]).astype(int)
    predicted, p = model.predict(paths), model.predict_proba(paths)
    assert model.classes_.tolist() == list(NAMES) and predicted.shape == p.shape == wanted.shape
    assert (predicted == (p >= load_bundle(model.run_).manifest.thresholds)).all()
    assert average_precision_score(wanted, p, average="macro") > 0.9
    assert model.score(paths, labels) == pytest.approx((predicted == wanted).all(axis=1).mean())
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict(paths[:5]) == predicted[:5]).all()
    loaded = foveal.load(model.run_, ImageClassifier)
    assert np.array_equal(loaded.predict_proba(paths[:5]), p[:5])


def test_predict_writes_labels_and_all_probabilities(model, data, tmp_path, capsys):
    images = [data[0].parent / "000.png", data[0].parent / "001.png"]
    (tmp_path / "broken.png").write_bytes(b"no image")
    out = tmp_path / "p.csv"
    assert command("predict", model.run_, *images, tmp_path / "broken.png", "--out", out) == 1
    with out.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    columns = [f"probability {name}" for name in NAMES]
    assert list(rows[0]) == ["path", "labels", *columns, "error"]
    p = model.predict_proba(images)
    assert np.allclose([[float(row[c]) for c in columns] for row in rows[:2]], p, atol=1e-5)
    assert [set(json.loads(row["labels"])) for row in rows[:2]] == [
        {NAMES[k] for k in np.flatnonzero(row)} for row in model.predict(images)
    ]
    assert rows[2]["labels"] == "" and rows[2]["error"].startswith("not_a_picture")
    assert command("predict", model.run_, *images, "--out", out) == 0  # it is replaced: it is ours
    assert command("predict", model.run_, *images, "--out", tmp_path / "p.parquet") == 0
    table = pyarrow.parquet.read_table(tmp_path / "p.parquet")
    assert table.column_names == list(rows[0]) and str(table.schema.field(columns[0]).type) == "double"
    capsys.readouterr()
    assert command("predict", model.run_, *images, "--json") == 0
    for shown in json.loads(capsys.readouterr().out)["predictions"]:
        ranked = [row["probability"] for row in shown["topk"]]
        assert len(ranked) == 3 and ranked == sorted(ranked, reverse=True)
        assert shown["label"] == (shown["labels"][0] if shown["labels"] else None)
        assert shown["set"] == [] and shown["unknown"] is None and shown["error"] is None


def test_evaluate_on_its_own_images_and_on_others(model, tmp_path, capsys):
    assert command("evaluate", model.run_, "--json") == 0
    assert json.loads(capsys.readouterr().out)["test"]["map"] == model.summary_["test"]["map"]
    table, _ = write_shapes(tmp_path, 30, seed=3)
    text = table.read_text().replace('"box"', '"zebra"')
    table.write_text(text)
    assert command("evaluate", model.run_, table, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["test"]["n"] == 30 and found["test"]["classes_not_tested"] == ["box"]
    assert [f["code"] for f in found["findings"]] == ["labels_not_in_model"]
    for name in NAMES:
        text = text.replace(f'"{name}"', '"zebra"')
    table.write_text(text)
    with pytest.raises(UnknownName):
        model.evaluate(table)
    with pytest.raises(DataError):
        model.evaluate(table.parent)


def test_it_is_resumed_and_replayed_to_the_same_weights(model, tmp_path):
    weights, test = (model.run_ / "model" / "weights.safetensors").read_bytes(), model.summary_["test"]
    again, repeated = flow.replay(str(model.run_), out=str(tmp_path / "again"))
    assert (again / "model" / "weights.safetensors").read_bytes() == weights and repeated["test"] == test
    for name in ("summary.json", "report.html"):
        (again / name).unlink()
    _, resumed = flow.resume(str(again))
    assert (again / "model" / "weights.safetensors").read_bytes() == weights and resumed["test"] == test


def test_what_does_not_take_such_a_run_says_so(model):
    for refuse in (find_suspects, lambda run: compare_runs(run, run)):
        with pytest.raises(UsageError, match="lists of labels"):
            refuse(model.run_)


def test_it_is_served(model, data):
    predictor = MultiLabelPredictor(load_bundle(model.run_))
    answers = answers_of(predictor, max_pixels=10**6, max_batch=4)
    names = ["a", "b"]
    images = [data[0].parent / f"{i:03d}.png" for i in range(2)]
    given = answers.answer(
        names, [answers.prepare(i.read_bytes(), n) for i, n in zip(images, names, strict=True)], 2
    )
    expected = [{NAMES[k] for k in np.flatnonzero(row)} for row in model.predict(images)]
    assert [set(a.labels) for a in given] == expected and all(len(a.topk) == 3 for a in given)


def test_it_goes_on_in_torch(model, data):
    images = [data[0].parent / f"{i:03d}.png" for i in range(2)]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in images])
    module = model.torch_module()
    with torch.inference_mode():
        found = dict(zip(module.outputs, module(torch.from_numpy(pixels)), strict=True))
    assert np.abs(found["probabilities"].numpy() - model.predict_proba(images)).max() < 0.02
    assert (found["labels"].numpy() == model.predict(images)).all()


# Labels in Python.


@pytest.mark.parametrize(
    ("y", "rows", "kind"),
    [
        ([["b", "a"], []], [["b", "a"], []], "str"),
        ([(3,), {4}], [["3"], ["4"]], "int"),
        (np.array([[0, 1, 1], [0, 0, 0]]), [["1", "2"], []], "int"),
        (np.array([[True, False], [True, True]]), [["0"], ["0", "1"]], "int"),
        ([[0, 1, 1], [1, 0, 0]], [["1", "2"], ["0"]], "int"),
        ([np.array([0, 1]), np.array([1, 0])], [["1"], ["0"]], "int"),
        ([[0], [1, 0]], [["0"], ["1", "0"]], "int"),
    ],
)
def test_labels_are_lists_or_a_matrix(y, rows, kind):
    assert are_label_rows(y)
    found = label_rows(y)
    assert [list(row) for row in found.names] == rows and found.kind == kind


@pytest.mark.parametrize("y", [[["a"], ["a"]], [[], []], np.ones((3, 2), int)])
def test_labels_that_do_not_differ_are_refused(y):
    with pytest.raises(UsageError):
        label_rows(y).check()


def test_one_label_for_each_image_is_not_taken_for_several():
    assert not any(map(are_label_rows, (["a", "b"], np.array([0, 1]), np.array([[0], [1]]), "ab", [])))


@pytest.mark.parametrize("y", [[["a"], [None]], [[True], ["a"]], [[""], ["a"]], np.array([[0, 2], [1, 1]])])
def test_other_labels_are_refused(y):
    with pytest.raises(UsageError):
        label_rows(y)


def test_columns_that_were_not_learned_stay(model):
    manifest = load_bundle(model.run_).manifest
    rows = label_rows(np.array([[0, 1, 0, 0], [1, 0, 0, 0]]))
    noted = rows.noted(type(manifest)(**{**vars(manifest), "classes": ("0", "1", "3")}))
    columns = LabelColumns.of_manifest(noted)
    p = columns.arranged(np.array([[0.9, 0.1, 0.99]], np.float32))
    assert columns.values.tolist() == [0, 1, 2, 3] and np.allclose(p, [[0.9, 0.1, 0, 0.99]])
    assert columns.predicted(p).tolist() == [[1, 0, 0, 1]]
    assert columns.right([[0, 3]], columns.predicted(p)).tolist() == [True]
    with pytest.raises(UsageError):
        columns.right([[0], [1]], columns.predicted(p))
