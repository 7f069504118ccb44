"""Figures: valid SVG with every label, marks where the values are, colours that follow the page's scheme."""

import itertools
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import foveal.studies.framework
from foveal.errors import UnknownName
from foveal.studies.framework.number_format import format_number, tick_labels
from foveal.studies.framework.plot import render_svg
from foveal.studies.framework.plot.canvas import spread_out, text_width, value_limits, wrap
from foveal.studies.framework.plot.theme import COLOURS
from foveal.studies.framework.plot_data import plot_from_json
from studied import BARS, DOTS, LINES, PANELS, plot, point

ALL = {"dots": DOTS, "lines": LINES, "bars": BARS, "panels": PANELS}
SVG = "{http://www.w3.org/2000/svg}"
STYLE = Path(foveal.studies.framework.__file__).with_name("templates") / "style.css"


def draw(stored, width=760):
    return ET.fromstring(render_svg(plot_from_json(stored), width))


def texts(root):
    return [e.text for e in root.iter(f"{SVG}text")]


def tagged(root, name):
    """Groups with a CSS class."""
    return [e for e in root.iter() if name in e.get("class", "").split()]


def numbers(path):
    return [float(n) for n in re.findall(r"-?\d+\.?\d*", path)]


def centre_of(marker):
    use = next(marker.iter(f"{SVG}use"))
    return float(use.get("x")), float(use.get("y"))


def extent_of(group):
    """Left and right end of a line or a bar."""
    xs = numbers(next(group.iter(f"{SVG}path")).get("d"))[::2]
    return min(xs), max(xs)


@pytest.mark.parametrize("width", [340, 760])
@pytest.mark.parametrize("name", ALL)
def test_a_figure_has_a_title_a_description_and_every_label_inside(name, width):
    root = draw(ALL[name], width)
    _, _, wide, high = numbers(root.get("viewBox"))
    assert wide == width and root.get("role") == "img"
    assert root.find(f"{SVG}title").text == root.get("aria-label") == ALL[name]["title"]
    panels = ALL[name]["panels"] if "panels" in ALL[name] else [ALL[name]]
    shown = " ".join(texts(root))
    for panel in panels:
        assert panel["x"] in shown
        for series in panel["series"]:
            assert series["name"] in shown and series["name"] in root.find(f"{SVG}desc").text
            if panel["kind"] != "lines":
                assert all(p["x"] in shown for p in series["points"])
    for element in root.iter(f"{SVG}text"):
        assert -1 <= float(element.get("x")) <= width + 1 and 0 <= float(element.get("y")) <= high


@pytest.mark.parametrize("name", ALL)
def test_all_colours_are_variables_of_the_style_sheet(name):
    svg = render_svg(plot_from_json(ALL[name]), 760)
    assert not re.search(r"#[0-9a-f]{6}\b", svg.replace('href="#', ""))
    used = set(re.findall(r"var\(--(\w+)\)", svg))
    assert {"s0", "ink"} <= used | {"ink"} and used <= set(COLOURS)


def test_the_style_sheet_defines_every_colour_for_light_dark_and_print():
    css = STYLE.read_text(encoding="utf-8")
    _, dark = css.split("@media (prefers-color-scheme: dark)", 1)
    for name, value in COLOURS.items():
        assert f"--{name}: {value}" in css
        assert css.count(f"--{name}: ") == 3
        assert f"--{name}: {value};" not in dark.split("}")[0]


@pytest.mark.parametrize("name", ALL)
def test_the_same_plot_gives_the_same_svg_and_ids_differ_between_plots(name):
    one, same = (render_svg(plot_from_json(ALL[name]), 760) for _ in range(2))
    other = render_svg(plot_from_json({**ALL[name], "title": "another"}), 760)
    assert one == same

    def ids(svg):
        return set(re.findall(r' id="([^"]+)"', svg))

    assert not ids(one) & ids(other)
    assert set(re.findall(r'href="#([^"]+)"', one)) == ids(one)


def test_nothing_but_the_svg_namespace_is_referenced():
    svg = render_svg(plot_from_json(DOTS), 760)
    assert set(re.findall(r"https?://[^\"' <]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert "<style" not in svg and "<metadata" not in svg


def test_a_dot_lies_in_its_interval_and_is_hollow_when_that_contains_no_difference():
    root = draw(DOTS)
    intervals, dots = tagged(root, "interval"), tagged(root, "dot")
    assert len(intervals) == len(dots) == 2
    for interval, dot in zip(intervals, dots, strict=True):
        left, right = extent_of(interval)
        assert left < centre_of(dot)[0] < right
        assert dot.find(f"{SVG}title").text
    assert ["hollow" in d.get("class").split() for d in dots] == [False, True]
    zero, _ = extent_of(tagged(root, "mark")[0])
    assert extent_of(intervals[0])[0] > zero > extent_of(intervals[1])[0]


def test_marks_move_with_the_values():
    def places(mean):
        stored = plot("dots", {"": [point("a", mean), point("b", 0.1), point("c", 0.9)]})
        return [centre_of(dot)[0] for dot in tagged(draw(stored), "dot")]

    low, high = places(0.2), places(0.8)
    assert low[0] < high[0] and low[1:] == high[1:]
    middle = (low[1] + low[2]) / 2
    assert middle - low[0] == pytest.approx(high[0] - middle)


def test_points_of_a_line_lie_at_their_values():
    root = draw(plot("lines", {"one": [point(10, 0.2), point(100, 0.4), point(1000, 0.6)]}, log_x=True))
    (x0, y0), (x1, y1), (x2, y2) = map(centre_of, tagged(root, "point"))
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.01) and y0 - y1 == pytest.approx(y1 - y2, abs=0.01)
    assert x1 > x0 and y1 < y0


def test_bars_start_at_zero_and_are_as_long_as_their_values():
    stored = plot("bars", {"planned": [point("a", 300.0), point("b", 100.0)]}, unit="bytes")
    (start, end), (same, short) = map(extent_of, tagged(draw(stored), "bar"))
    assert start == same and end - start == pytest.approx(3 * (short - start), rel=0.01)


def test_a_bound_is_drawn_at_its_value():
    root = draw(BARS)
    (bound,) = tagged(root, "bound")
    left, right = extent_of(bound)
    bars = [extent_of(bar)[1] for bar in tagged(root, "bar")]
    assert left == right and left > bars[0]


def test_lines_have_their_names_at_their_ends_without_overlap():
    root = draw(LINES)
    names = [e for e in root.iter(f"{SVG}text") if e.text in ("one", "two")]
    assert abs(float(names[0].get("y")) - float(names[1].get("y"))) >= 14
    ends = max(centre_of(p)[0] for p in tagged(root, "point"))
    assert all(float(e.get("x")) > ends for e in names)


def test_an_interval_with_one_point_is_drawn_as_a_line_with_more_as_a_band():
    root = draw(LINES)
    assert len(tagged(root, "band")) == 1 and len(tagged(root, "interval")) == 1


def test_an_unknown_kind_is_named():
    with pytest.raises(UnknownName, match="pie"):
        render_svg(plot_from_json({**DOTS, "kind": "pie"}), 340)


def test_listing_the_studies_does_not_import_matplotlib():
    code = (
        "import sys; from foveal.studies import NAMES, find; [find(n) for n in NAMES];"
        "import foveal.studies.framework.page, foveal.studies.framework.plot;"
        "sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.lists(st.floats(0, 300), min_size=1, max_size=9), st.floats(5, 30))
def test_labels_stay_apart_in_order_and_inside(wanted, size):
    wanted = sorted(wanted)
    placed = spread_out(wanted, [size] * len(wanted), 0, 300)
    assert all(b - a >= size - 1e-6 for a, b in itertools.pairwise(placed))
    assert placed[0] >= size / 2 - 1e-6 and placed[-1] <= 300 - size / 2 + 1e-6
    if all(b - a >= size for a, b in itertools.pairwise(wanted)) and wanted[0] > 30 and wanted[-1] < 270:
        assert placed == pytest.approx(wanted)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
    st.sampled_from(["percent", "points", "number"]),
    st.booleans(),
)
def test_limits_contain_all_values(values, form, zero):
    low, high = value_limits([*values, None, math.nan], form, zero=zero)
    assert low <= min(values) and max(values) <= high and low < high
    assert not zero or low == 0
    assert form != "percent" or (low >= 0 and high <= 1)


def test_logarithmic_limits_are_ratios():
    low, high = value_limits([1.0, 100.0], "times", log=True)
    assert 1 / low == pytest.approx(high / 100) and 0 < low < 1


def test_ticks_are_labelled_with_the_digits_that_they_need():
    for ticks in ([0.9, 0.95, 1.0], [0.981, 0.982], [0.0, 0.5]):
        assert len(set(tick_labels(ticks, "percent"))) == len(ticks)
    assert tick_labels([-0.1, 0.0, 0.1], "points")[2].startswith("+")


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        (0.9751, "percent", "97.5 %"), (-0.0021, "points", "−0.2"), (0.00001, "points", "0.0"),
        (526_000_000, "bytes", "526 MB"), (1.4e9, "bytes", "1.40 GB"), (0.42, "seconds", "420 ms"),
        (130, "seconds", "2.17 min"), (903400, "count", "903,400"), (2.5, "times", "2.5 ×"),
        (math.nan, "percent", "–"),
    ],
)  # fmt: skip
def test_numbers(value, form, expected):
    assert format_number(value, form) == expected


def test_text_is_wrapped_between_words():
    lines = wrap("With permuted pixels the advantage is gone", 120)
    assert " ".join(lines) == "With permuted pixels the advantage is gone"
    assert len(lines) > 1 and all(text_width(line) <= 150 for line in lines)
