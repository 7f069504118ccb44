"""The comparison of scores with those at training time: how often it errs, and what it finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.metrics.calibration import SCORE_BOUNDS, score_histogram
from foveal.serving.drift import FALSE_ALARMS, DriftWatch, p_value
from foveal.serving.schemas import ImageAnswer
from served import serving


def watch(validation, scores, **given):
    watched = DriftWatch(score_histogram(validation), **given)
    for score in scores:
        watched.add(ImageAnswer("a", label="x", probability=float(score)))
    return watched.report()


@pytest.mark.parametrize("shape", [(8, 1), (30, 0.4), (2, 2)], ids=["good", "nearly all sure", "unsure"])
def test_false_alarms_are_as_rare_as_promised(shape):
    """1,500 windows that are like the validation images: at 1 % more than 28 alarms have a probability below 0.001."""
    random, alarms = np.random.default_rng(7), 0
    for _ in range(1500):
        a, b = (np.asarray(score_histogram(random.beta(*shape, size=n))) for n in (200, 120))
        alarms += p_value(a, b, random, divisions=199) <= FALSE_ALARMS
    assert alarms <= 28


def test_images_of_another_kind_are_found():
    random = np.random.default_rng(3)
    good, worse = random.beta(12, 1, 300), random.beta(4, 1.5, 400)
    found = watch(good, worse)
    assert (found.windows, found.alarms, found.alarm) == (2, 2, True) and found.p_value == 0.001
    same = watch(good, random.beta(12, 1, 200))
    assert not same.alarm and same.windows == 1


def test_half_a_window_says_nothing_yet():
    found = watch(np.full(100, 0.9), np.full(199, 0.1))
    assert found.images == 199 and found.windows == 0 and found.p_value is None and not found.alarm


@pytest.mark.parametrize(
    "validation", [None, [], [1, 2, 3], [0] * (len(SCORE_BOUNDS) + 1), [1] + [0] * len(SCORE_BOUNDS)]
)
def test_without_scores_of_the_training_nothing_is_compared(validation):
    watched = DriftWatch(validation, window=5)
    for _ in range(10):
        watched.add(ImageAnswer("a", probability=0.5, unknown=True))
    watched.add(ImageAnswer("a"))
    found = watched.report()
    assert found.validation is None and found.p_value is None and (found.images, found.unknown) == (10, 10)
    assert sum(found.last_window) == 5


@given(st.lists(st.floats(0, 1, width=32), max_size=60))
@settings(max_examples=50)
def test_every_score_is_in_one_bin(scores):
    counts = score_histogram(np.asarray(scores, dtype=np.float64))
    assert len(counts) == len(SCORE_BOUNDS) + 1 and sum(counts) == len(scores)


def test_a_model_keeps_the_scores_of_its_validation_images_and_the_server_reports_them(trained, ants):
    with serving(trained[0]) as served:
        before = served.client.get("/v1/drift").json()
        assert sum(before["validation"]) == served.service.manifest.provenance["validation"]["n"]
        for content in ants.values():
            served.post(content)
        after = served.client.get("/v1/drift").json()
        assert after["images"] == before["images"] + len(ants) and after["alarm"] is False
        assert "foveal_drift_alarm 0.0" in served.client.get("/metrics").text
