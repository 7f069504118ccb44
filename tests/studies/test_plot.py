import itertools
import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foveal.errors import UnknownName
from foveal.studies.plot import draw
from foveal.studies.plot.canvas import Scale, figure, scale_for, text_width, wrapped
from foveal.studies.plot.lines import spread
from studied import BARS, DOTS, LINES, PANELS, picture, point

ALL = {"dots": DOTS, "lines": LINES, "bars": BARS, "panels": PANELS}


def elements(drawing, tag, kind=""):
    root = ET.fromstring(drawing)
    return [
        e
        for e in root.iter(f"{{http://www.w3.org/2000/svg}}{tag}")
        if kind in e.get("class", "").split() or not kind
    ]


@pytest.mark.parametrize("width", [340, 760])
@pytest.mark.parametrize("name", ALL)
def test_a_drawing_is_whole_and_stays_inside(name, width):
    drawing = draw(ALL[name], width)
    root = ET.fromstring(drawing)
    height = float(root.get("height"))
    for x in ("x", "x1", "x2", "cx"):
        assert all(-1 <= float(e.get(x)) <= width + 1 for e in root.iter() if e.get(x))
    for y in ("y", "y1", "y2", "cy"):
        assert all(-1 <= float(e.get(y)) <= height + 1 for e in root.iter() if e.get(y))
    for e in elements(drawing, "text"):
        if e.get("text-anchor") is None:
            assert float(e.get("x")) + text_width(e.text, float(e.get("font-size", 13))) <= width + 4


def test_a_dot_stands_in_its_interval_and_is_hollow_when_that_holds_none():
    drawing = draw(DOTS, 760)
    intervals, dots = elements(drawing, "line", "interval"), elements(drawing, "circle", "dot")
    assert len(intervals) == len(dots) == 2
    for interval, dot in zip(intervals, dots, strict=True):
        assert float(interval.get("x1")) < float(dot.get("cx")) < float(interval.get("x2"))
    assert ["hollow" in d.get("class").split() for d in dots] == [False, True]
    zero = float(elements(drawing, "line", "zero")[0].get("x1"))
    assert float(intervals[0].get("x1")) > zero > float(intervals[1].get("x1"))


def test_bars_begin_at_zero_and_are_as_long_as_their_figures():
    plot = picture("bars", {"predicted": [point("a", 300.0), point("b", 100.0)]}, unit="bytes")
    long, short = (float(e.get("width")) for e in elements(draw(plot, 760), "rect", "bar"))
    assert long == pytest.approx(3 * short, rel=0.01)


def test_lines_are_named_where_they_end_and_names_do_not_overlap():
    names = [e for e in elements(draw(LINES, 760), "text", "word") if e.text in ("one", "two")]
    assert len(names) == 2
    assert abs(float(names[0].get("y")) - float(names[1].get("y"))) >= 14


def test_words_are_escaped():
    assert "near &lt;b&gt;" in draw(DOTS, 760)


def test_an_unknown_kind_is_named():
    with pytest.raises(UnknownName, match="pie"):
        draw({**DOTS, "kind": "pie"}, 340)


@given(st.lists(st.floats(0, 300), min_size=1, max_size=9), st.floats(5, 30))
def test_labels_keep_apart_in_order_and_inside(wanted, size):
    wanted = sorted(wanted)
    placed = spread(wanted, [size] * len(wanted), 0, 300)
    assert all(b - a >= size - 1e-6 for a, b in itertools.pairwise(placed))
    assert placed[0] >= size / 2 - 1e-6 and placed[-1] <= 300 - size / 2 + 1e-6
    if all(b - a >= size for a, b in itertools.pairwise(wanted)) and wanted[0] > 30 and wanted[-1] < 270:
        assert placed == pytest.approx(wanted)


@example(0.0, 999001.0, True)
@given(st.floats(-1e6, 1e6), st.floats(0.001, 1e6), st.booleans())
def test_ticks_are_inside_ascending_and_apart(low, span, log):
    low = abs(low) + 1e-3 if log else low
    scale = Scale(low, low + span, 0, 400, log=log)
    ticks = scale.ticks()
    places = [scale.at(t) for t in ticks]
    assert ticks and len(set(scale.labels(ticks))) >= 1
    assert all(low - 1e-6 * span <= t <= low + span * (1 + 1e-6) or len(ticks) <= 2 for t in ticks)
    assert all(b - a > 20 for a, b in itertools.pairwise(places))


def test_scales():
    scale = Scale(1, 100, 0, 200, log=True)
    assert [scale.at(v) for v in (1, 10, 100, 1000)] == pytest.approx([0, 100, 200, 200])
    assert scale_for([0.97, 0.999], {"format": "percent"}, (0, 1)).high <= 1
    assert scale_for([3.0, 4.0], {}, (0, 1), zero=True).low == 0


@pytest.mark.parametrize(
    ("value", "form", "said"),
    [
        (0.9751, "percent", "97.5 %"), (-0.0021, "points", "−0.2"), (0.00001, "points", "0.0"),
        (526_000_000, "bytes", "526 MB"), (1.4e9, "bytes", "1.40 GB"), (0.42, "seconds", "420 ms"),
        (130, "seconds", "2.17 min"), (903400, "count", "903,400"), (2.5, "times", "2.5 ×"),
        (math.nan, "percent", "–"),
    ],
)  # fmt: skip
def test_figures(value, form, said):
    assert figure(value, form) == said


def test_text_is_cut_between_words():
    lines = wrapped("With permuted pixels the advantage is gone", 120)
    assert " ".join(lines) == "With permuted pixels the advantage is gone"
    assert len(lines) > 1 and all(text_width(one) <= 120 for one in lines)
