"""Are images mirrored in training? Only where a model shows that mirrored images keep their target."""

from types import SimpleNamespace

import numpy as np
import pytest

from foveal.config import TrainConfig
from foveal.decisions import HFLIP
from foveal.features.extract import FeatureTable
from foveal.training.flip_test import hflip_by_first_model, hflip_by_linear_probe
from runs import context_of, placed

#: Features of the classes: ink on the left, ink on the right, roundness.
KINDS = {"b": (1.0, 0.0, 0.0), "d": (0.0, 1.0, 0.0), "o": (0.5, 0.5, 1.0)}


class Features:
    """In place of an extractor: `mirrored(label)` is the class that a mirrored image looks like."""

    def __init__(self, mirrored=lambda label: label, unreached=0):
        self._mirrored, self._unreached, self.runs = mirrored, unreached, []

    def run(self, records, *, view, deadline):
        self.runs.append((view, [r.label for r in records]))
        generator = np.random.default_rng(len(self.runs))
        reached = records[: len(records) - self._unreached] if view == "mirror" else records
        rows = {}
        for r in reached:
            label = self._mirrored(r.label) if view == "mirror" else r.label
            rows[r.sha256] = (KINDS[label] + 0.25 * generator.normal(size=3)).astype(np.float32)
        return FeatureTable(rows)


def context_with(features=None, *, each=40, augment="auto"):
    split = placed(tuple(KINDS), train=each * len(KINDS))
    return context_of(split, extractor=features, config=TrainConfig(augment=augment))


@pytest.mark.parametrize(
    ("mirrored", "keeps"), [(lambda c: {"b": "d", "d": "b"}.get(c, c), False), (lambda c: c, True)]
)
def test_letters_whose_mirror_image_is_another_letter_are_not_mirrored(mirrored, keeps):
    context = context_with(Features(mirrored))
    assert hflip_by_linear_probe(context) is keeps
    assert context.decisions.get(HFLIP) is keeps and "120" in context.decisions.reason(HFLIP)


def test_it_is_decided_once():
    context = context_with(Features())
    context.decisions.record(HFLIP, False, "earlier")
    assert hflip_by_linear_probe(context) is False and context.extractor.runs == []


def test_a_few_hundred_images_of_all_classes_are_tested():
    features = Features()
    assert hflip_by_linear_probe(context_with(features, each=200))
    assert [view for view, _ in features.runs] == ["plain", "mirror"]
    assert all(len(labels) == 400 and min(map(labels.count, "bdo")) >= 133 for _, labels in features.runs)


@pytest.mark.parametrize(
    ("features", "each"), [(Features(unreached=1), 40), (Features(), 1)], ids=["no time", "too few images"]
)
def test_without_time_or_images_to_test_it_they_are_not_mirrored(features, each):
    context = context_with(features, each=each)
    assert hflip_by_linear_probe(context) is False and context.decisions.reason(HFLIP)


def first_model(score):
    return SimpleNamespace(strategy="first", score=score)


@pytest.mark.parametrize(("mirrored", "keeps"), [(0.9, True), (0.86, True), (0.85, False), (0.1, False)])
def test_the_first_model_may_lose_a_little_on_mirrored_images(mirrored, keeps):
    context = context_with()
    assert hflip_by_first_model(context, first_model(0.9), lambda: mirrored, tolerance=0.05, least=0.5) is keeps
    assert context.decisions.get(HFLIP) is keeps


@pytest.mark.parametrize("score", [None, 0.49])
def test_a_model_that_learned_too_little_decides_nothing(score):
    context = context_with()
    unused = lambda: pytest.fail("it was evaluated")  # noqa: E731
    assert hflip_by_first_model(context, first_model(score), unused, tolerance=0.05, least=0.5) is False


def test_under_augment_none_nothing_is_mirrored():
    context = context_with(augment="none")
    assert hflip_by_first_model(context, first_model(1.0), lambda: 1.0, tolerance=0.05, least=0.5) is False


def test_the_first_strategy_has_no_model_to_test_and_leaves_the_choice_open():
    context = context_with()
    assert hflip_by_first_model(context, None, lambda: 1.0, tolerance=0.05, least=0.5) is False
    assert context.decisions.get(HFLIP) is None
