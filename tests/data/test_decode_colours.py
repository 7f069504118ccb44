"""Any colour mode becomes RGB: depth scaled, never clipped; transparency over the stated background."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foveal.data.images.decode import decode, quiet, to_rgb
from pictures import draw, encoded


@pytest.fixture(autouse=True)
def no_warnings():
    with quiet():
        yield


def pixels(content, **options):
    rgb = decode(content, "x", **options)
    assert rgb.mode == "RGB"
    return np.asarray(rgb)


def flat(mode, colour, **options):
    return encoded(Image.new(mode, (9, 7), colour), "PNG", **options)


RAMP = np.linspace(0, 65535, 40 * 30).reshape(30, 40)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_by_their_depth(form):
    content = encoded(Image.fromarray(RAMP.astype(np.uint16)), form)
    found = pixels(content)
    assert np.abs(found[..., 0] - RAMP / 257).max() <= 1
    assert (found[..., 0] == found[..., 2]).all()
    assert found.max() == 255
    assert len(np.unique(found)) == 256


def test_a_dark_sixteen_bit_image_stays_dark():
    content = encoded(Image.fromarray(np.full((8, 8), 257 * 9, dtype=np.uint16)), "PNG")
    assert (pixels(content) == 9).all()


def test_big_endian_sixteen_bits():
    content = encoded(Image.fromarray(RAMP.astype(np.uint16)), "TIFF")
    swapped = Image.frombytes("I;16B", (40, 30), RAMP.astype(">u2").tobytes())
    assert (np.asarray(to_rgb(swapped)) == pixels(content)).all()


def test_thirty_two_bit_greys():
    values = np.array([[0, 2**30], [2**31 - 1, 2**29]], dtype=np.int32)
    found = pixels(encoded(Image.fromarray(values), "TIFF"))
    assert found[..., 0].tolist() == [[0, 128], [255, 64]]


def test_sixteen_bit_values_in_thirty_two_bit_mode():
    found = pixels(encoded(Image.fromarray(RAMP.astype(np.int32)), "TIFF"))
    assert np.abs(found[..., 0] - RAMP / 257).max() <= 1


@pytest.mark.parametrize("scale", [1.0, 255.0, 65535.0])
def test_floats_by_the_range_they_fit(scale):
    values = (np.linspace(0, 1, 64).reshape(8, 8) * scale).astype(np.float32)
    found = pixels(encoded(Image.fromarray(values), "TIFF"))
    assert np.abs(found[..., 0] - np.linspace(0, 255, 64).reshape(8, 8)).max() <= 0.51


def test_floats_that_are_no_numbers():
    values = np.array([[np.nan, np.inf], [-np.inf, 1.0]], dtype=np.float32)
    assert pixels(encoded(Image.fromarray(values), "TIFF"))[..., 0].tolist() == [[0, 0], [0, 255]]


@given(st.lists(st.floats(width=32), min_size=4, max_size=4))
@settings(max_examples=50, deadline=None)
def test_no_float_image_is_refused_or_out_of_order(values):
    square = np.array(values, dtype=np.float32).reshape(2, 2)
    found = np.asarray(to_rgb(Image.fromarray(square)))[..., 0].ravel()
    finite = np.nan_to_num(square.ravel(), nan=0.0, posinf=0.0, neginf=0.0)
    assert (np.diff(found[np.argsort(finite, kind="stable")].astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ("ink", "colour"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
        ((255, 255, 0, 0), (0, 0, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
    ],
)
def test_cmyk_jpeg(ink, colour):
    content = encoded(Image.new("CMYK", (16, 16), ink), "JPEG", quality=95)
    assert np.abs(pixels(content).astype(int) - colour).max() <= 6


def test_ycbcr_and_grey_jpeg():
    grey = draw(1).convert("L")
    found = pixels(encoded(grey, "JPEG", quality=95)).astype(int)
    assert (found[..., 0] == found[..., 1]).all()
    assert np.abs(found[..., 0] - np.asarray(grey, dtype=int)).mean() < 3


def test_bits_are_black_and_white():
    content = encoded(Image.fromarray(np.eye(8, dtype=bool)), "PNG")
    assert (pixels(content)[..., 1] == 255 * np.eye(8)).all()


@given(
    st.tuples(*[st.integers(0, 255)] * 4),
    st.tuples(*[st.integers(0, 255)] * 3),
)
@settings(max_examples=40, deadline=None)
def test_alpha_is_laid_over_the_background(colour, background):
    found = pixels(flat("RGBA", colour), background=background)[0, 0].astype(float)
    share = colour[3] / 255
    assert np.abs(found - (share * np.array(colour[:3]) + (1 - share) * np.array(background))).max() <= 1.5


@given(st.integers(0, 255), st.integers(0, 255))
@settings(max_examples=25, deadline=None)
def test_grey_with_alpha_over_white(grey, alpha):
    found = pixels(flat("LA", (grey, alpha)))
    assert np.abs(found - (alpha * grey + (255 - alpha) * 255) / 255).max() <= 1.5


def test_transparent_is_white_unless_said_otherwise():
    content = flat("RGBA", (10, 20, 30, 0))
    assert (pixels(content) == 255).all()
    assert (pixels(content, background=(1, 2, 3)) == (1, 2, 3)).all()


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_colour(form):
    picture = Image.new("P", (4, 2))
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.putdata([0, 1, 2, 0, 1, 2, 0, 1])
    found = pixels(encoded(picture, form, transparency=1), background=(9, 9, 9))
    wanted = {0: (255, 0, 0), 1: (9, 9, 9), 2: (0, 0, 255)}
    expected = [wanted[i] for i in [0, 1, 2, 0, 1, 2, 0, 1]]
    assert found.reshape(-1, 3).tolist() == [list(c) for c in expected]


def test_a_palette_with_degrees_of_transparency():
    picture = Image.new("P", (3, 1))
    picture.putpalette([0, 0, 0, 0, 0, 0, 0, 0, 0])
    picture.putdata([0, 1, 2])
    found = pixels(encoded(picture, "PNG", transparency=bytes([255, 128, 0])))
    assert found[0, :, 0].tolist() == pytest.approx([0, 127, 255], abs=1)


def test_a_plain_palette():
    picture = draw(3).quantize(32)
    assert (pixels(encoded(picture, "PNG")) == np.asarray(picture.convert("RGB"))).all()


def test_a_colour_key_shows_the_background():
    picture = Image.new("RGB", (4, 4), (7, 8, 9))
    picture.putpixel((1, 1), (200, 100, 50))
    found = pixels(encoded(picture, "PNG", transparency=(7, 8, 9)))
    assert found[1, 1].tolist() == [200, 100, 50]
    assert found[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    "mode", ["L", "RGB", "RGBA", "P", "1", "LA", "CMYK", "YCbCr", "HSV", "LAB", "RGBa", "La", "PA", "RGBX"]
)
def test_every_mode_ends_as_rgb(mode):
    found = to_rgb(Image.new(mode, (5, 4)))
    assert (found.mode, found.size) == ("RGB", (5, 4))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "TGA", "WEBP", "GIF", "JPEG2000", "AVIF", "JPEG"])
def test_allowed_formats_are_read(form):
    picture = draw(5, (64, 48))
    options = {"lossless": True} if form == "WEBP" else {"quality": 95} if form in ("AVIF", "JPEG") else {}
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    found = pixels(buffer.getvalue())
    assert np.abs(found.astype(int) - np.asarray(picture, dtype=int)).mean() < 6
