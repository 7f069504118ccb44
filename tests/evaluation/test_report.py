"""The report: one file that asks nothing of any network, whatever names the pictures have."""

import re

import numpy as np
import pytest

from foveal.evaluation.classification import measure
from foveal.evaluation.confusion import confusion_svg
from foveal.evaluation.report import render_report, shortcomings
from foveal.values import Finding


def summary_of(classes, root):
    return {
        "version": "0",
        "engine": "openvino-fp32",
        "status": "done",
        "model": {"name": "lite0"},
        "strategy": {"name": "frozen"},
        "data": {
            "name": "<b>odd</b> & co",
            "root": root,
            "classes": classes,
            "images": 10,
            "used": 9,
            "excluded": 1,
            "no_time": 0,
        },
        "split": {"train": 5, "val": 2, "test": 2},
        "test": {"n": 2, "classes_not_tested": []},
        "test_looks": 2017,
        "sets": None,
        "refit": {"done": True, "images": 4711, "seconds": 0.5, "reason": "there was time"},
        "time": {
            "total_s": 9.0,
            "budget_s": 20.0,
            "audit_s": 1.0,
            "features_s": 3.0,
            "fit_s": 1.0,
            "evaluate_s": 0.1,
        },
    }


def page_of(tmp_path, draw, classes, n=4):
    path = tmp_path / "<script>alert(1)</script>.png"
    (tmp_path / "<script>alert(1)<").mkdir()
    draw(1).save(path)
    labels = np.zeros(n, dtype=np.int64)
    probabilities = np.tile(np.eye(len(classes), dtype=np.float32)[-1], (n, 1))
    paths = [str(path), str(tmp_path / "absent-\udcff.png"), str(path), str(path)][:n]
    measured = measure(probabilities, labels, paths, classes)
    finding = Finding("near_duplicates", "note", "2 <i>alike</i>", "do nothing", 1, ((str(path), paths[-1]),))
    summary = summary_of(classes, str(tmp_path))
    return render_report(summary, measured, [finding], {"engine": {"value": "x", "reason": "<u>why</u>"}})


def test_names_are_text_never_markup(tmp_path, draw):
    page = page_of(tmp_path, draw, ["$a_{1}$", "<img src=x>", "é"])
    assert "<script>" not in page and "<img src=x>" not in page and "<i>alike" not in page and "<u>why" not in page
    assert page.count("data:image/jpeg;base64,") == 3  # the fourth picture is gone


def test_nothing_is_fetched(tmp_path, draw):
    page = page_of(tmp_path, draw, ["a", "b"])
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page.replace("xlink:href", "").replace('href="#', ""))
    assert "4711" in page  # how many images the delivered model was refitted on
    assert "2017" in page  # how often this test set was evaluated on
    assert str(tmp_path) not in page  # paths are shown below the data's root


def test_a_test_side_without_pictures_still_gives_a_page(tmp_path):
    measured = measure(np.zeros((0, 2), dtype=np.float32), np.zeros(0, dtype=np.int64), [], ["a", "b"])
    refit = {"done": False, "images": 5, "seconds": 0.0, "reason": "<i>no time</i>"}
    summary = {**summary_of(["a", "b"], str(tmp_path)), "test": measured.figures, "refit": refit}
    page = render_report(summary, measured, [], {})
    assert "<html" in page and "–" in page
    assert "&lt;i&gt;no time" in page  # why the measured model is delivered


@pytest.mark.parametrize("k", [2, 12, 60])
def test_the_confusion_matrix_is_drawn(k):
    matrix = np.eye(k, dtype=int) * 3
    matrix[0, 1] = 7
    svg = confusion_svg(matrix.tolist(), [f"class {i}" for i in range(k)])
    assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>")


def test_what_was_not_read_or_not_tested_is_named(tmp_path, draw):
    summary = summary_of(["a", "=cmd()"], "/p")
    assert shortcomings(summary) == {}
    summary["data"] |= {"images": 400, "no_time": 171}
    summary["test"]["classes_not_tested"] = ["=cmd()"]
    found = shortcomings(summary)
    assert found["unread"] == "171 images were not read in time: give it more, --time 1m"
    assert found["untested"] == "no test image of: =cmd()"
    page = render_report(
        summary, measure(np.zeros((0, 2), dtype=np.float32), np.zeros(0, dtype=np.int64), [], ["a", "b"]), [], {}
    )
    assert found["unread"] in page and found["untested"] in page
    summary["data"]["no_time"], summary["time"]["budget_s"] = 1, None
    assert shortcomings(summary)["unread"] == "1 image was not read in time"
    summary["status"] = "interrupted"
    assert shortcomings(summary)["unread"] == "1 image was not read before it was stopped"
    assert shortcomings(summary)["stopped"].startswith("early")


def test_classes_without_a_test_image_are_in_the_figures():
    measured = measure(
        np.array([[0.9, 0.1]], dtype=np.float32), np.zeros(1, dtype=np.int64), ["a.png"], ["a", "b"]
    )
    assert measured.figures["classes_not_tested"] == ["b"]
