"""The box for images with masks: their own size where they have one, a common one otherwise."""

import pytest
from PIL import Image

import masked
from foveal.config import TrainConfig
from foveal.data.sources.list_data import list_data
from foveal.decisions import Decisions
from foveal.errors import UnknownName, UsageError
from foveal.training.routing import LARGEST, choose_segmentation_route


def preprocess_of(folder):
    decisions = Decisions()
    route = choose_segmentation_route(list_data(folder).entries, TrainConfig(), decisions)
    again = choose_segmentation_route([], TrainConfig(), decisions)  # decided once
    assert again.preprocess == route.preprocess
    assert [s.name for s in route.strategies] == ["fcn8s", "unet"]
    return route.preprocess


def test_images_of_one_size_keep_their_pixels(tmp_path):
    preprocess = preprocess_of(masked.write_pairs(tmp_path, 6))
    assert preprocess.resize == "fit" and preprocess.box == (48, 64) and preprocess.scale == 1


def test_images_of_many_sizes_share_a_box(tmp_path):
    masked.write_pairs(tmp_path, 6)
    for i in range(3):
        Image.new("RGB", (40 + i, 60)).save(tmp_path / "images" / f"{'abc'[i]}x{i}.png")
    preprocess = preprocess_of(tmp_path)
    assert preprocess.box == (48, 64) and preprocess.scale == 0


def test_large_images_are_made_smaller(tmp_path):
    for folder, mode in (("images", "RGB"), ("masks", "L")):
        (tmp_path / folder).mkdir()
        Image.new(mode, (4 * LARGEST, 2 * LARGEST)).save(tmp_path / folder / "a.png")
    preprocess = preprocess_of(tmp_path)
    assert preprocess.box == (LARGEST // 2, LARGEST) and preprocess.scale == 0.25


def test_strategies_for_labels_are_refused(tmp_path):
    with pytest.raises(UnknownName):
        choose_segmentation_route([], TrainConfig(strategy="frozen"), Decisions())
    with pytest.raises(UsageError) as caught:
        choose_segmentation_route([], TrainConfig(from_scratch="lenet5"), Decisions())
    assert caught.value.hint
