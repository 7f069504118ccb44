"""Pages: complete, self-contained, and faithful to `study.json`."""

import re
from html.parser import HTMLParser

import pytest

from foveal.studies.framework.page import effect, render, render_index
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


def test_a_page_shows_claim_verdict_measurements_and_how_to_reproduce_them():
    content = study()
    shown = Shown(render(content))
    for text in (
        content["claim"], content["question"], content["method"], content["command"], content["machine"]["cpu"],
        content["contrasts"][0]["statement"], content["analysis"]["checks"][0]["evidence"],
        content["analysis"]["notebook_claims"][0]["sentence"], "supported", "not supported",
    ):  # fmt: skip
        assert text.casefold() in shown.text.casefold()
    for number in ("+2.1", "+1.7 to +2.5", "2.90 ×", "2.70 × to 3.10 ×", "95.1 %", "94.0 % to 96.2 %", "903,400"):
        assert number in shown.text


def test_older_files_call_the_notebooks_claims_said():
    content = study()
    page = render(content)
    content["analysis"]["said"] = content["analysis"].pop("notebook_claims")
    assert render(content) == page


@pytest.mark.parametrize("plot", [DOTS, BARS, PANELS])
def test_a_page_makes_no_request_and_runs_no_script(plot):
    content = study()
    content["analysis"]["plot"] = plot
    page = render(content)
    shown = Shown(page)
    assert all(address.startswith("#") for address in shown.addresses)
    assert "script" not in shown.tags and "link" not in shown.tags and "@import" not in page
    assert set(re.findall(r"https?://[^\"' <]+", page)) == {"http://www.w3.org/2000/svg"}
    assert shown.tags.count("svg") == 2


def test_an_undecided_study_shows_how_many_seeds_are_missing():
    shown = Shown(render(study("undecided", more_seeds=1234)))
    assert "undecided" in shown.text.casefold() and "1234" in shown.text


def test_a_study_without_results_has_a_page():
    content = study("undecided", rows=[], looks=[])
    content["analysis"] |= {"n": 0, "summary": [], "contrasts": [], "checks": [], "notebook_claims": []}
    content["analysis"].pop("plot")
    shown = Shown(render(content))
    assert "undecided" in shown.text.casefold() and "svg" not in shown.tags


def test_the_notebook_links_every_study_and_lists_refuted_statements():
    index = render_index([study(), study("undecided", name="another", question="And then?")], "foveal study all")
    shown = Shown(index)
    assert {"invented/study.html", "another/study.html", "#another"} <= set(shown.addresses)
    assert "1 supported, 1 undecided" in shown.text
    assert "Convolutions <are> faster" in shown.text


def test_effects_are_written_in_their_unit():
    assert effect(0.021, contrast("a")) == "+2.1"
    assert effect(-0.002, contrast("a")) == "−0.20"
    assert effect(1.5, contrast("a", ratio=True)) == "1.50 ×"
    assert effect(-0.3, contrast("a", unit="s")) == "−300 ms"
    assert effect(None, contrast("a")) == "–"
