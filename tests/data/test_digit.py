"""Bringing a written character to MNIST's form, whatever image it is on."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from foveal.data.images.digit import find_digit
from foveal.data.images.idx import read_idx
from foveal.data.images.render import render
from foveal.data.sources.samples import unpack
from foveal.values import Preprocess
from photographed import photograph

DIGIT = Preprocess(size=28, resize="digit", channels=1)


@pytest.fixture(scope="module")
def images():
    return read_idx(str(unpack("mnist") / "t10k-images-idx3-ubyte"))


def like(a, b):
    a, b = a.astype(float).ravel() - a.mean(), b.astype(float).ravel() - b.mean()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_what_has_the_form_already_stays_as_it_is(images):
    changed = sum(bool((find_digit(d) != d).any()) for d in images[:2000])
    assert changed <= 10


def scan(digit, side, *, inverted):
    """A clean scan: black ink on white, or the other way round."""
    big = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC))
    sheet = np.pad(big, side // 3)
    return sheet if inverted else 255 - sheet


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("side", [40, 150, 900])
def test_a_clean_scan_of_any_size_and_polarity_comes_back(images, side, inverted):
    found = [like(find_digit(scan(d, side, inverted=inverted)), d) for d in images[:30]]
    assert np.median(found) > 0.85 and min(found) > 0.6


def test_photographs_come_back(images):
    found = []
    for i in range(40):
        chance = np.random.default_rng(i)
        picture = photograph(images[i], chance, harsh=0.8)
        found.append(like(render(picture, DIGIT)[:, :, 0], images[i]))
    assert np.median(found) > 0.75


def test_the_form_is_that_of_mnist(images):
    for i in range(20):
        found = find_digit(scan(images[i], 200, inverted=False))
        rows, columns = np.nonzero(found > 40)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in range(18, 23)
        weights = found / found.sum()
        middle = (weights.sum(axis=1) @ np.arange(28), weights.sum(axis=0) @ np.arange(28))
        assert max(abs(m - 14) for m in middle) < 1.1


@pytest.mark.parametrize("level", [0, 90, 255])
def test_an_empty_page_is_black(level):
    chance = np.random.default_rng(0)
    page = np.clip(chance.normal(level, 2.0, (300, 200)), 0, 255).astype(np.uint8)
    assert not find_digit(page).any()


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60))))
def test_any_image_at_all_gives_the_form(grey):
    found = find_digit(grey)
    assert found.shape == (28, 28) and found.dtype == np.uint8


def test_it_is_one_of_the_ways_to_preprocess(images):
    buffer = io.BytesIO()
    Image.fromarray(scan(images[0], 120, inverted=False)).save(buffer, "PNG")
    rendered = render(Image.open(buffer).convert("RGB"), DIGIT)
    assert rendered.shape == (28, 28, 1) and like(rendered[:, :, 0], images[0]) > 0.8
    assert Preprocess.from_dict(DIGIT.to_dict()) == DIGIT
