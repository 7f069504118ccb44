import re
from html.parser import HTMLParser

import pytest

from foveal.studies.page import effect, render, render_index
from studied import BARS, DOTS, PANELS, contrast, study


class Shown(HTMLParser):
    """The text of a page, and every address in it."""

    def __init__(self, page):
        super().__init__()
        self.words, self.addresses, self.tags = [], [], []
        self.feed(page)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src", "action")]

    def handle_data(self, data):
        self.words.append(data)


def test_a_page_says_claim_verdict_figures_and_how_to_repeat_it():
    shown = Shown(render(study()))
    for words in (
        "One is more accurate than two & all others", "✓ Supported by 4 seeds", "+2.1 points (+1.7 to +2.5)",
        "Convolutions <are> faster Pace is more: 2.90 × (2.70 × to 3.10 ×) ✗ not supported",
        "The sum is right 903,400",
        "95.1 %", "94.0 % to 96.2 %", "2.50 s", "903,400", "foveal study invented", "some processor", "1 min 01 s",
        "Seeds are paired.", "MACs",
    ):  # fmt: skip
        assert words in shown.text


@pytest.mark.parametrize("plot", [DOTS, BARS, PANELS])
def test_a_page_asks_for_nothing_and_runs_nothing(plot):
    content = study()
    content["analysis"]["plot"] = plot
    page = render(content)
    shown = Shown(page)
    assert shown.addresses == []
    assert "script" not in shown.tags and "link" not in shown.tags and "@import" not in page
    assert set(re.findall(r"https?://[^\"' <]+", page)) == {"http://www.w3.org/2000/svg"}
    assert shown.tags.count("svg") == 2


def test_undecided_says_what_is_missing():
    shown = Shown(render(study("undecided", more_seeds=12)))
    assert "? Undecided with 4 seeds; about 12 more would decide it" in shown.text


def test_a_study_without_results_has_a_page():
    content = study("undecided", rows=[], looks=[])
    content["analysis"] |= {"n": 0, "summary": [], "contrasts": [], "checks": [], "said": []}
    content["analysis"].pop("plot")
    assert "Undecided with 0 seeds" in Shown(render(content)).text


def test_the_notebook_links_every_study_and_names_what_does_not_hold():
    index = render_index([study(), study("undecided", name="another", question="And then?")], "foveal study all")
    shown = Shown(index)
    assert {"invented/study.html", "another/study.html", "#another"} <= set(shown.addresses)
    assert "1 supported, 1 undecided" in shown.text
    assert shown.text.index("What of the notebook does not hold") < shown.text.index("Convolutions <are> faster")


def test_effects_are_written_in_their_unit():
    assert effect(0.021, contrast("a")) == "+2.1"
    assert effect(-0.002, contrast("a")) == "−0.20"
    assert effect(1.5, contrast("a", ratio=True)) == "1.50 ×"
    assert effect(-0.3, contrast("a", unit="s")) == "−300 ms"
    assert effect(None, contrast("a")) == "–"
