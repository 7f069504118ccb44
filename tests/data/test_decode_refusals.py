"""What is refused, under which code; a hostile file never raises anything else."""

import io
import os
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foveal.data.images.decode import REASONS, decode, open_image, quiet, read_file
from foveal.errors import UnreadableImage
from pictures import draw, encoded
from unprivileged import not_as_root


@pytest.fixture(autouse=True)
def no_warnings():
    with quiet():
        yield


def refusal(call, *arguments, **options):
    with pytest.raises(UnreadableImage) as caught:
        call(*arguments, **options)
    error = caught.value
    assert error.code in REASONS
    assert error.detail
    assert str(error).startswith(str(error.path))
    return error


def png_header(width, height, depth=8, colour=2):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    end = b"IEND"
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", 0) + end + struct.pack(">I", zlib.crc32(end))
    )  # fmt: skip


def test_files_that_can_not_be_read(tmp_path):
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert refusal(read_file, str(tmp_path / "gone.jpg")).code == "missing"
    assert refusal(read_file, str(tmp_path / "empty.jpg")).code == "empty_file"
    assert refusal(read_file, str(tmp_path)).code == "unreadable_file"
    assert refusal(read_file, str(tmp_path / "pipe.jpg")).code == "unreadable_file"
    assert refusal(read_file, "/dev/null").code == "unreadable_file"
    assert refusal(read_file, "nul\0in.jpg").code in ("missing", "unreadable_file")
    assert refusal(read_file, str(tmp_path / ("x" * 5000))).code in ("missing", "unreadable_file")


def test_a_file_without_permission(open_folder):
    path = open_folder / "a.jpg"
    path.write_bytes(b"x")
    path.chmod(0)
    with not_as_root():
        assert refusal(read_file, str(path)).code == "unreadable_file"


@pytest.mark.parametrize(
    ("content", "code", "named"),
    [
        (b"%PDF-1.4 and so on", "format_not_allowed", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "format_not_allowed", "EPS"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "format_not_allowed", "SVG"),
        (b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg/>', "format_not_allowed", "SVG"),
        (b"8BPS\0\1" + b"\0" * 40, "format_not_allowed", "PSD"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "format_not_allowed", "HEIC"),
        (b"just some words", "not_a_picture", ""),
        (b"\0" * 100, "not_a_picture", ""),
        (b"\xff\xd8\xff", "not_a_picture", ""),
    ],
)
def test_what_is_no_image_or_not_allowed(content, code, named):
    error = refusal(decode, content, "a/b.jpg")
    assert (error.code, error.path) == (code, "a/b.jpg")
    assert named in error.detail


@pytest.mark.parametrize("form", ["PCX", "SGI", "IM", "EPS", "MSP", "XBM"])
def test_formats_off_the_list_are_not_opened_although_pillow_could(form):
    mode = "1" if form in ("MSP", "XBM") else "RGB"
    assert refusal(decode, encoded(draw(1).convert(mode), form), "x").code in (
        "format_not_allowed",
        "not_a_picture",
    )


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_half_a_file(form):
    content = encoded(draw(1, (200, 150)), form)
    code = refusal(decode, content[: len(content) // 2], "x").code
    assert (
        code == "truncated" if form in ("JPEG", "PNG", "BMP") else code in ("truncated", "broken", "not_a_picture")
    )


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_half_a_file_is_refused_when_shrunk_too(form):
    content = encoded(draw(1, (800, 600)), form)
    assert refusal(decode, content[: len(content) // 2], "x", shrink_to=64).code == "truncated"


def test_the_size_limit_is_on_pixels_and_inclusive():
    content = encoded(Image.new("L", (30, 20)))
    assert decode(content, "x", max_pixels=600).size == (30, 20)
    error = refusal(decode, content, "x", max_pixels=599)
    assert error.code == "too_many_pixels"
    assert "30 × 20" in error.detail


def test_a_bomb_is_refused_before_it_is_decoded():
    assert refusal(decode, png_header(60_000, 60_000), "x").code == "too_many_pixels"
    assert refusal(decode, png_header(2**31 - 1, 2**31 - 1), "x").code in ("too_many_pixels", "broken")


def test_the_users_own_limit_holds_also_over_pillows():
    assert open_image(png_header(20_000, 10_000), "x", max_pixels=10**9).size == (20_000, 10_000)


CONTENTS = {form: encoded(draw(6, (40, 30)), form) for form in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")}


@given(st.sampled_from(sorted(CONTENTS)), st.floats(0, 1), st.booleans())
@settings(max_examples=50, deadline=None)
def test_a_file_cut_anywhere_is_a_image_or_a_stated_refusal(form, share, shrink):
    content = CONTENTS[form][: int(share * len(CONTENTS[form]))]
    picture_or_refusal(content, shrink)


@given(
    st.sampled_from(sorted(CONTENTS)),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_a_damaged_file_is_a_image_or_a_stated_refusal(form, hits, shrink):
    content = bytearray(CONTENTS[form])
    for where, value in hits:
        content[int(where * len(content))] = value
    picture_or_refusal(bytes(content), shrink)


def picture_or_refusal(content, shrink):
    try:
        found = decode(content, "x", shrink_to=16 if shrink else None, max_pixels=10**6)
    except UnreadableImage as error:
        assert error.code in REASONS
    else:
        assert found.mode == "RGB"
        assert len(found.tobytes()) == 3 * found.width * found.height


def test_details_are_one_short_line():
    class Chatty(io.BytesIO):
        def load(self):
            raise ValueError("two\n lines " + "x" * 900)

    from foveal.data.images.decode import finish

    error = refusal(finish, Chatty(), "x")
    assert "\n" not in error.detail
    assert len(error.detail) <= 200
