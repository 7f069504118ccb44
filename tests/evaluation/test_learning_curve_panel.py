"""The panel of the learning curve."""

from xml.etree import ElementTree

from foveal.evaluation.learning_curve import curve_panel, to_collect


def curve_of(recalls):
    rows = [{"label": n, "n": 100, "recall": r, "recall_ci95": (r - 0.05, r + 0.05)} for n, r in recalls.items()]
    twice = {"images": 800, "accuracy": 0.93, "ci95": [0.91, 0.95], "forms": []}
    points = [{"images": m, "accuracy": a} for m, a in ((50, 0.7), (100, 0.8), (360, 0.9))]
    return {"points": points, "images": 400, "twice": twice, "classes": rows}


def test_it_is_a_plot_with_every_point_and_escapes_names():
    page = curve_panel({"learning_curve": curve_of({"<b>": 0.6, "cat": 0.98, "dog": 0.98})})
    svg = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    circles = svg.findall("{http://www.w3.org/2000/svg}circle")
    across = [float(c.get("cx")) for c in circles]
    assert len(circles) == 4 and across == sorted(across) and "&lt;b&gt;" in page and "<b>" not in page


def test_classes_that_are_clearly_behind_are_named_and_no_others():
    words = to_collect(curve_of({"ant": 0.6, "bee": 0.9, "cat": 0.95}))
    assert "ant" in words and "bee" not in words and "cat" not in words
    assert "ant" not in to_collect(curve_of({"ant": 0.9, "bee": 0.91}))


def test_a_run_without_a_curve_has_no_panel():
    assert curve_panel({}) == curve_panel({"learning_curve": None}) == ""
