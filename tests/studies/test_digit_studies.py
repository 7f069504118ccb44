"""The studies on digits, at a small fraction of their size: every arm runs, at the cost that is stated."""

import numpy as np
import pytest
import torch

from digits import write_idx
from foveal.errors import DataError
from foveal.studies import find
from foveal.studies.experiments.support.digits import (
    DigitSet,
    reduce_contrast,
    subsets,
    training_subset,
    translate,
)
from foveal.studies.experiments.support.layers import BlurPool, Permuted
from foveal.studies.framework import Setting
from foveal.studies.framework.analysis import check_equal
from foveal.studies.framework.runner import run_study

NAMES = ("cnn-vs-dense", "pooling-vs-stride", "lrn", "innovations", "mnist")


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    return str(write_idx(tmp_path_factory.mktemp("bars"), train=300, test=100, side=28))


@pytest.mark.parametrize("name", NAMES)
def test_every_arm_has_the_stated_cost(name):
    study = find(name)
    sizes = study.sizes(Setting(study.data))
    assert set(sizes) == {arm.name for arm in study.arms}
    assert [c.name for e in study.equal if not (c := check_equal(e, sizes)).holds] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_study_runs_and_measures_what_it_names(name, bars, tmp_path):
    study = find(name)
    path, content = run_study(study, out=str(tmp_path / name), data=bars, seeds=1, share=0.004)
    wanted = {m.name for m in study.measures}
    assert set().union(*(r["measures"] for r in content["rows"])) == wanted
    assert len(content["rows"]) == len(study.arms) and content["analysis"]["plot"]["series"]
    assert len(content["analysis"]["contrasts"]) == len(study.contrasts)
    assert "<svg" in (path / "study.html").read_text()


def test_a_run_is_the_same_for_the_same_seed(bars):
    study, setting = find("cnn-vs-dense"), Setting(bars, share=0.01)
    assert study.run("dense", 1, setting) == study.run("dense", 1, setting)


def test_images_are_drawn_evenly_and_alike(bars):
    setting = Setting(bars)
    one, same, other = (training_subset(setting, 100, seed) for seed in (0, 0, 1))
    assert np.bincount(one.labels).tolist() == [25] * 4
    assert (one.pixels == same.pixels).all() and not (one.pixels == other.pixels).all()
    assert len(training_subset(setting, 10**6, 0)) == 300


def test_shifts_and_contrast():
    digits = DigitSet(np.zeros((1, 1, 4, 4), np.uint8), np.zeros(1, np.int64))
    digits.pixels[0, 0, 1, 2] = 200
    assert np.argwhere(translate(digits, 2, -1).pixels[0, 0]).tolist() == [[3, 1]]
    assert translate(digits, 0, 3).pixels.sum() == 0
    assert reduce_contrast(digits, 0.25).pixels.max() == 50


def test_other_data_is_refused_with_a_hint(tmp_path):
    with pytest.raises(DataError, match=tmp_path.name) as caught:
        subsets(str(tmp_path))
    assert caught.value.hint


def test_blurring_keeps_flat_maps_and_permuting_keeps_values():
    flat = torch.full((1, 2, 6, 6), 3.0)
    assert torch.equal(BlurPool(2)(flat), torch.full((1, 2, 3, 3), 3.0))
    impulse = torch.zeros(1, 1, 5, 5)
    impulse[0, 0, 2, 2] = 16.0
    assert BlurPool(1)(impulse)[0, 0].tolist() == [[0, 0, 0], [0, 4, 0], [0, 0, 0]]
    image = torch.arange(16.0).view(1, 1, 4, 4)
    mixed = Permuted(torch.nn.Identity(), 4)(image)
    assert not torch.equal(mixed, image) and torch.equal(mixed.flatten().sort().values, image.flatten())
