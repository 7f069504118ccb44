"""Figures of masks from counts, and which pictures the report shows."""

import numpy as np
import pytest

import masked
from foveal.evaluation.segmentation import MaskPair, measure_masks
from foveal.inference.outputs.colours import colours_of, painted
from foveal.metrics import wilson
from foveal.values import LabelMap

LEGEND = LabelMap(("background", "cell"), (0, 1))


def answered(n, wrong=(), block=None):
    for i in range(n):
        truth = np.zeros((20, 30), dtype=np.uint8)
        truth[4:14, 5 + i % 4 : 15] = 1
        truth[:, -2:] = 255
        answer = np.where(truth == 255, 0, truth).astype(np.uint8)
        if i in wrong:
            answer[:] = 0
        yield MaskPair(f"/p/{i}.png", block or str(i), answer, truth)


def test_perfect_answers():
    figures = measure_masks(answered(6), LEGEND).figures
    assert figures["miou"] == figures["pixel_accuracy"] == figures["boundary_f1"] == 1
    assert figures["n"] == figures["blocks"] == 6
    for name in ("miou", "pixel_accuracy", "boundary_f1"):
        assert figures[f"{name}_ci95"] == pytest.approx(wilson(6, 6))  # each image is one trial
    assert figures["per_class"][1]["iou_ci95"] == pytest.approx(wilson(6, 6))
    assert sum(c["share"] for c in figures["per_class"]) == pytest.approx(1)


def test_the_worst_come_first_and_no_picture_is_shown_twice():
    found = measure_masks(answered(12, wrong=(3, 7)), LEGEND)
    assert {m["path"] for m in found.mistakes[:2]} == {"/p/3.png", "/p/7.png"}
    assert found.figures["miou"] < 1 and found.figures["miou_ci95"][0] < found.figures["miou"]
    paths = [e.path for e in found.examples]
    assert len(set(paths)) == len(paths) == 8
    kinds = {e.path: e.kind for e in found.examples}
    assert kinds["/p/3.png"] == kinds["/p/7.png"] == "worst"
    assert found.figures["per_class"][1]["recall"] == pytest.approx(10 / 12, abs=0.03)


def test_one_block_has_no_interval_and_no_picture_still_gives_figures():
    assert measure_masks(answered(4, block="a"), LEGEND).figures["miou_ci95"] is None
    nothing = measure_masks([], LEGEND)
    assert nothing.figures["n"] == 0 and nothing.figures["miou"] is None and nothing.shown()["confusion"] == ""


def test_colours_can_be_told_apart_and_void_stays_grey():
    many = colours_of(LabelMap(tuple(map(str, range(40))), tuple(range(40))))
    assert len({tuple(c) for c in many.tolist()}) == 40
    assert colours_of(LabelMap(("a", "b"), (0, 1), ((1, 2, 3), (4, 5, 6)))).tolist() == [[1, 2, 3], [4, 5, 6]]
    picture, mask = masked.draw_pair(1)
    shown = np.asarray(painted(picture, np.asarray(mask), many))
    assert shown.shape == (48, 64, 3)
    void = shown[10:40, -2:].astype(int)
    assert np.ptp(void, axis=2).max() == 0
