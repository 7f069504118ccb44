"""Names that do not exist: what is suggested instead."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.errors import UnknownName, UnreadableImage, known_name

NAMES = [f"network_{letter}{number}" for letter in "abcdefghij" for number in range(100)]


@pytest.mark.parametrize(
    "typed", ["frozen-stages", "Frozen-Stages", "frozen_stages", "FROZEN STAGES", "frozenstages"]
)
def test_spelling_does_not_count(typed):
    assert known_name("strategy", typed, ["frozen", "frozen-stages"]) == "frozen-stages"


def test_the_exact_name_comes_first():
    assert known_name("model", "a_b", ["a-b", "a_b"]) == "a_b"


@given(st.text(max_size=5000))
@settings(max_examples=30, deadline=None)
def test_messages_stay_short_whatever_is_typed(name):
    error = UnknownName("model", name, NAMES)
    assert len(error.hint) < 400 and len(error.message) < 1000


def test_few_names_are_all_listed_and_the_nearest_of_many():
    assert "x, y" in UnknownName("axis", "temperature", ["y", "x"]).hint
    assert UnknownName("axis", "temperature", NAMES).hint.count("network_") == 5


def test_a_mistyped_name_is_corrected_whatever_its_case():
    assert UnknownName("network", "RESNET5O", ["alexnet", "resnet50"]).near == "resnet50"


@pytest.mark.parametrize("code", ["missing", "broken"])
def test_an_unreadable_image_has_a_hint(code):
    assert UnreadableImage("a.png", code, "no such file").hint
