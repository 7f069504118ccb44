"""The card: YAML that parses, Markdown whose names are text."""

import numpy as np
import pytest
import yaml
from test_report import summary_of

from foveal.evaluation.classification import measure
from foveal.evaluation.model_card import model_card

HOSTILE = ["<script>alert(1)</script>", "a: b\n- c", "[x](http://y)", "\x1b[31mred", "\u202egnp", "é|`*_"]


def card_of(classes, n=8):
    probabilities = np.tile(np.eye(len(classes), dtype=np.float32)[0], (n, 1))
    figures = measure(probabilities, np.arange(n) % len(classes), ["p"] * n, classes).figures
    return model_card({**summary_of(classes, "/p"), "test": figures, "task": "classify"})


def test_its_top_is_yaml_with_the_figures_and_what_they_are_of():
    card = card_of(["a", "b"])
    _, top, rest = card.split("---\n", 2)
    head = yaml.safe_load(top)
    (result,) = head["model-index"][0]["results"]
    assert head["pipeline_tag"] == "image-classification" and head["base_model"] == "lite0"
    assert {"type": "accuracy", "value": 0.5} in result["metrics"]
    assert "50.0 %" in rest and "8 held-out images" in rest


@pytest.mark.parametrize("n", [0, 6])
def test_names_are_text_in_both_parts(n):
    card = card_of(HOSTILE, n)
    _, top, rest = card.split("---\n", 2)
    assert yaml.safe_load(top)["model-index"][0]["name"] == "<b>odd</b> & co"
    assert "<script>" not in card and "](http" not in card and "\x1b" not in card and "\u202e" not in card
    assert len([line for line in rest.splitlines() if line.startswith("- ")]) == len(HOSTILE)
