"""The report: one file that asks nothing of any network, whatever names the pictures have."""

import re

import numpy as np
import pytest

from foveal.evaluation.classification import measure
from foveal.evaluation.confusion import confusion_svg
from foveal.evaluation.report import render_report, shortcomings
from foveal.values import Excluded, Finding


def summary_of(classes, root):
    return {
        "version": "0",
        "engine": "openvino-fp32",
        "status": "done",
        "task": "classify",
        "model": {"name": "lite0", "backbone": "lite0"},
        "strategy": {
            "name": "frozen",
            "reason": "there was time for <b>one</b>",
            "candidates": [{"name": "frozen", "seconds": 3.0, "score": 0.5, "ci95": (0.25, 0.75)}],
        },
        "memory": {
            "budget_bytes": 3 << 30,
            "planned_bytes": None,
            "allocator_peak_bytes": None,
            "peak_rss_bytes": 1 << 20,
        },
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
        "unknown": None,
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
    assert page.count("data:image/jpeg;base64,") == 5  # 3 mistakes, 2 near-duplicates; one is gone


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
    svg = confusion_svg(matrix.tolist(), [f"class {i}" for i in range(k)], {(0, 1): "place"})
    assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>")
    assert svg.count("<a ") == 1 and 'href="#place"' in svg


def test_each_cell_of_mistakes_leads_to_its_images():
    probabilities = np.eye(3, dtype=np.float32)[[1, 1, 2, 0]] * 0.9 + 0.03
    measured = measure(probabilities, np.array([0, 0, 0, 0]), ["a", "b", "c", "d"], ["x", "y", "z"])
    shown = measured.shown()
    assert [(p.label, p.prediction, p.count) for p in shown["mistakes"]] == [("x", "y", 2), ("x", "z", 1)]
    page = render_report({**summary_of(["x", "y", "z"], "/p"), "test": measured.figures}, measured, [], {})
    linked = re.findall(r'href="#(mistakes-[^"]*)"', page)
    assert linked and set(linked) == set(re.findall(r'<h3 id="([^"]*)"', page))


def test_many_classes_and_many_mistakes_stay_a_small_page(tmp_path, draw):
    path = str(tmp_path / "image.png")
    draw(1, (300, 300)).save(path)
    rng = np.random.default_rng(0)
    n, k = 20_000, 500
    probabilities = rng.dirichlet(np.ones(k), n).astype(np.float32)
    names = [f"class {i}" for i in range(k)]
    measured = measure(probabilities, rng.integers(0, k, n), [path] * n, names)
    page = render_report({**summary_of(names, str(tmp_path)), "test": measured.figures}, measured, [], {})
    assert len(page) < 5_000_000


def test_what_was_tried_left_out_and_repeated_is_shown():
    decisions = {
        "fine-tune/skip": {"value": "no time <is> left", "reason": "no time <is> left"},
        "frozen/keep": {"value": True, "reason": "the first"},
    }
    log = [{"event": "figures", "stage": "t", "step": s, "loss": v} for s, v in ((1, 2.0), (2, 1.0), (3, 0.5))]
    excluded = [Excluded("/p/bad.png", "no_image", "not an <image>")]
    measured = measure(np.eye(2, dtype=np.float32), np.array([0, 1]), ["a", "b"], ["x", "y"])
    summary = {**summary_of(["x", "y"], "/p"), "test": measured.figures}
    page = render_report(summary, measured, [], decisions, excluded=excluded, log=log)
    for text in ("not tried: no time &lt;is&gt; left", "bad.png", "not an &lt;image&gt;", "the first", "--replay"):
        assert text in page
    assert "1 MiB" in page and "3 GiB" in page and "step 3" in page


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
