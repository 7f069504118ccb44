"""Are pictures mirrored while a network is tuned? Only where a head on frozen features bears it."""

from types import SimpleNamespace

import numpy as np
import pytest

from foveal.clock import Clock
from foveal.features.extract import FeatureTable
from foveal.fit.strategies.mirror import mirror_keeps_label
from foveal.values import Placed
from pictures import record


def job(mirrored_like, *, each=40, missing=0, asked=None):
    """Classes b, d and o; features say how much ink is left and right, and whether it is round.

    `mirrored_like` tells a label's kind after mirroring, as the features see it.
    """
    kinds = {"b": (1.0, 0.0, 0.0), "d": (0.0, 1.0, 0.0), "o": (0.5, 0.5, 1.0)}
    placed = [Placed(record(f"{c}{i}", c), "train", f"{c}{i}") for c in kinds for i in range(each)]
    chance = np.random.default_rng(0)
    looks = {}
    for p in placed:
        for view, kind in (("plain", p.record.label), ("mirror", mirrored_like(p.record.label))):
            looks[p.record.sha256, view] = (kinds[kind] + 0.25 * chance.normal(size=3)).astype(np.float32)

    def run(records, *, view, clock, reserve):
        if asked is not None:
            asked.append((view, [r.label for r in records]))
        there = records[: len(records) - missing] if view == "mirror" else records
        return FeatureTable({r.sha256: looks[r.sha256, view] for r in there})

    return SimpleNamespace(
        split=SimpleNamespace(on=lambda _: placed, classes=tuple(kinds)),
        features=SimpleNamespace(run=run), clock=Clock(), reserve=0.0, seed=0,
        labels=lambda some: np.array([list(kinds).index(p.record.label) for p in some]),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mirrored_like", "keeps"), [(lambda c: {"b": "d", "d": "b"}.get(c, c), False), (lambda c: c, True)]
)
def test_a_letter_whose_mirror_image_is_another_one_is_not_mirrored(mirrored_like, keeps):
    found, why = mirror_keeps_label(job(mirrored_like))
    assert found is keeps
    assert "on 120 training pictures" in why


def test_a_few_hundred_pictures_of_all_classes_are_asked_about():
    asked = []
    assert mirror_keeps_label(job(lambda c: c, each=200, asked=asked))[0]
    assert [view for view, _ in asked] == ["plain", "mirror"]
    assert all(len(labels) == 400 and min(map(labels.count, "bdo")) >= 133 for _, labels in asked)


def test_without_the_time_or_the_pictures_to_ask_they_are_not_mirrored():
    assert mirror_keeps_label(job(lambda c: c, missing=1)) == (False, "no time to ask about it")
    found, why = mirror_keeps_label(job(lambda c: c, each=1))
    assert not found and "too few" in why
