"""The preprocessing as matrix products is Pillow's, for images of all sizes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foveal.data.images.decode import finish
from foveal.data.images.render import render, render_views, shrink_limit
from foveal.errors import UsageError
from foveal.export.pixels import Geometry, Views, grey, resizing
from foveal.values import Preprocess

SIDES = st.integers(1, 90)
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tensor(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float()


@given(SIDES, SIDES, SIDES, st.sampled_from(sorted(FILTERS)), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_one_side_is_resized_as_pillow_does_it(height, width, target, interpolation, seed):
    image = Image.fromarray(noise(height, width, seed))
    expected = np.asarray(image.resize((target, height), FILTERS[interpolation], reducing_gap=None))
    matrix, inside = resizing(width, target, torch.tensor(float(target), dtype=torch.float64), interpolation)
    assert matrix.shape == (target, width) and bool(inside.all())
    if width / target < 6:  # from there on Pillow averages before
        found = torch.floor(tensor(image) @ matrix.T + 0.5).clamp(0, 255)[0].permute(1, 2, 0).numpy()
        assert np.abs(found - expected).max() <= 1  # Pillow's coefficients have 22 bits: halves may round down


PREPROCESS = st.builds(
    Preprocess,
    size=st.integers(1, 48),
    resize=st.sampled_from(["squash", "pad", "crop"]),
    crop_share=st.sampled_from([0.875, 1.0, 0.5]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    background=st.just((255, 0, 128)),
    channels=st.sampled_from([1, 3]),
)


@given(st.integers(1, 160), st.integers(1, 160), PREPROCESS)
@settings(max_examples=80, deadline=None)
def test_every_geometry_is_that_of_the_renderer(height, width, preprocess):
    # Pillow 13 begins with the columns where they shrink more: the order matters only where values are clipped.
    image = Image.fromarray(64 + noise(height, width) // 2)
    expected = render(image, preprocess).astype(int)
    found = Geometry(preprocess)(tensor(image))[0].permute(1, 2, 0).numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= (4 if max(height, width) >= 6 * preprocess.size else 2)


@pytest.mark.parametrize("resize", ["squash", "pad", "crop"])
def test_photographs_are_nearly_always_equal_to_the_bit(resize):
    preprocess = Preprocess(size=224, resize=resize)
    expected = render(Image.fromarray(noise(375, 500)), preprocess)
    found = Geometry(preprocess)(tensor(noise(375, 500)))[0].permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() <= 1 and np.abs(found - expected).mean() < 0.001


@pytest.mark.parametrize(("height", "width"), [(500, 700), (1030, 515), (449, 900)])
@pytest.mark.parametrize("resize", ["squash", "pad", "crop"])
def test_large_images_are_averaged_as_while_they_are_decoded(height, width, resize):
    preprocess = Preprocess(size=64, resize=resize)
    image = Image.fromarray(noise(height, width))
    shrunk = finish(image, "x", shrink_to=shrink_limit(preprocess))
    assert shrunk.size != image.size
    found = Geometry(preprocess)(tensor(image))[0].permute(1, 2, 0).numpy()
    assert np.abs(found - render(shrunk, preprocess)).max() <= 3


def test_grey_is_pillows_for_every_level():
    colours = noise(64, 64)
    expected = np.asarray(Image.fromarray(colours).convert("L"))
    assert np.array_equal(grey(tensor(colours))[0, 0].numpy(), expected)


@pytest.mark.parametrize(
    "views", [("plain",), ("plain", "mirror"), ("squash", "pad"), ("crop", "centre", "squash")]
)
def test_views_are_those_of_the_renderer_in_their_order(views):
    preprocess = Preprocess(size=24, resize="squash", mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    images = 64 + np.stack([noise(40, 30, 1), noise(40, 30, 2)]) // 2
    rendered = [render_views(Image.fromarray(image), preprocess, views) for image in images]
    expected = (np.concatenate(np.stack(rendered, axis=1)) - [1.0, 2.0, 3.0]) / [4.0, 5.0, 6.0]
    found = Views(preprocess, views)(torch.from_numpy(images)).permute(0, 2, 3, 1).numpy()
    assert np.abs(found - expected).max() <= 0.51  # two grey levels


def test_what_a_graph_can_not_do_is_refused():
    with pytest.raises(UsageError):
        Geometry(Preprocess(resize="digit", channels=1))
