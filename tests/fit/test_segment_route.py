"""The box for pictures with masks: their own size where they have one, a common one otherwise."""

from PIL import Image

import masked
from foveal.config import TrainConfig
from foveal.data import list_data
from foveal.fit.segment_route import LARGEST, choose_segment_route
from foveal.values import Decisions


def preprocess_of(folder):
    decisions = Decisions()
    route = choose_segment_route(list_data(folder).entries, TrainConfig(), decisions)
    again = choose_segment_route([], TrainConfig(), decisions)  # decided once
    assert again.preprocess == route.preprocess
    return route.preprocess


def test_pictures_of_one_size_keep_their_pixels(tmp_path):
    found = preprocess_of(masked.write_pairs(tmp_path, 6))
    assert found.resize == "fit" and found.box == (48, 64) and found.scale == 1


def test_pictures_of_many_sizes_share_a_box(tmp_path):
    masked.write_pairs(tmp_path, 6)
    for i in range(3):
        Image.new("RGB", (40 + i, 60)).save(tmp_path / "images" / f"{'abc'[i]}x{i}.png")
    found = preprocess_of(tmp_path)
    assert found.box == (48, 64) and found.scale == 0


def test_large_pictures_are_made_smaller(tmp_path):
    for folder, mode in (("images", "RGB"), ("masks", "L")):
        (tmp_path / folder).mkdir()
        Image.new(mode, (4 * LARGEST, 2 * LARGEST)).save(tmp_path / folder / "a.png")
    found = preprocess_of(tmp_path)
    assert found.box == (LARGEST // 2, LARGEST) and found.scale == 0.25
