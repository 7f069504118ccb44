"""Upright, the first frame, and smaller only as far as asked."""

import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from foveal.data.images.decode import decode, exif_of, open_image, orientation_of, quiet
from pictures import draw, encoded


@pytest.fixture(autouse=True)
def no_warnings():
    with quiet():
        yield


def with_exif(picture, form="PNG", **tags):
    exif = Image.Exif()
    for name, value in tags.items():
        exif[ExifTags.Base[name]] = value
    return encoded(picture, form, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_as_pillow_turns_it(orientation):
    content = with_exif(draw(1, (40, 24)), Orientation=orientation)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    found = decode(content, "x")
    assert found.size == ((40, 24) if orientation < 5 else (24, 40))
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_shrunk_image_is_turned_too(orientation):
    content = with_exif(draw(2, (640, 400)), "JPEG", Orientation=orientation)
    found = decode(content, "x", shrink_to=80)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert (found.width > found.height) == (expected.width > expected.height)
    assert mean_difference(found, expected) < 4


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_is_none_is_upright(orientation):
    content = with_exif(draw(3, (12, 8)), Orientation=orientation)
    assert decode(content, "x").tobytes() == draw(3, (12, 8)).tobytes()


def test_broken_metadata_cost_no_image():
    picture = draw(4, (12, 8))
    content = encoded(picture, "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert decode(content, "x").tobytes() == picture.tobytes()
    opened = open_image(content, "x")
    assert orientation_of(opened) == 1
    assert exif_of(opened) == (None, None)


def test_camera_and_time():
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Nikon\0", "D 90"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2020:05:17 10:11:12"
    content = encoded(draw(5), "JPEG", exif=exif)
    assert exif_of(open_image(content, "x")) == ("Nikon D 90", "2020:05:17 10:11:12")
    assert exif_of(open_image(encoded(draw(5), "JPEG"), "x")) == (None, None)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation(form):
    frames = [Image.new("RGB", (16, 16), c) for c in ("red", "lime", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(content)).n_frames == 3
    assert np.asarray(decode(content, "x")).reshape(-1, 3).tolist() == [[255, 0, 0]] * 256


def mean_difference(one, other, side=8, box=None):
    """`box`: what the first shows of the other."""
    first = one.resize((side, side), Image.Resampling.BOX, box=box)
    second = other.resize((side, side), Image.Resampling.BOX)
    return np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).mean()


@example(474, 474, 40, "PNG", 0)  # its last column and row are a single pixel wide, and count as eleven
@given(
    st.integers(100, 500),
    st.integers(100, 500),
    st.integers(40, 256),
    st.sampled_from(["JPEG", "PNG"]),
    st.integers(0, 9),
)
@settings(max_examples=50, deadline=None)
def test_shrinking_keeps_the_short_subset_and_the_image(width, height, shrink_to, form, seed):
    content = encoded(draw(seed, (width, height)), form)
    full, small = decode(content, "x"), decode(content, "x", shrink_to=shrink_to)
    assert full.size == (width, height)
    assert min(small.size) >= min(shrink_to, *full.size)
    assert small.width <= full.width
    assert small.height <= full.height
    scale = small.width / full.width
    assert abs(small.height - full.height * scale) <= 1 + full.height / full.width
    times = round(1 / scale)
    assert mean_difference(small, full, box=(0, 0, width / times, height / times)) < 4


def test_large_images_do_come_back_smaller():
    for form in ("JPEG", "PNG"):
        small = decode(encoded(draw(7, (1200, 900)), form), "x", shrink_to=100)
        assert 100 <= min(small.size) < 200


@pytest.mark.parametrize("clear", [True, False])
def test_palettes_are_averaged_too(clear):
    picture = draw(9, (900, 600)).convert("P")
    if clear:
        picture.info["transparency"] = 0
    content = encoded(picture, "PNG")
    small, full = decode(content, "x", shrink_to=100), decode(content, "x")
    assert small.size == (150, 100)
    assert mean_difference(small, full) < 5


@pytest.mark.parametrize("mode", ["LA", "RGBA", "CMYK", "P", "I;16", "1", "F"])
def test_every_mode_can_be_shrunk(mode):
    picture = draw(8, (300, 200))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L"), dtype=np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    content = encoded(picture, "TIFF")
    small, full = decode(content, "x", shrink_to=40), decode(content, "x")
    assert min(small.size) >= 40
    assert mean_difference(small, full) < 5


def test_a_transparent_hole_does_not_darken_its_rim_when_shrunk():
    picture = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    picture.paste((255, 255, 255, 255), (0, 0, 201, 400))
    found = np.asarray(decode(encoded(picture), "x", shrink_to=50))
    assert found.min() == 255
