"""`Preprocess` on images, and images kept so that none is decoded twice."""

import contextlib
import hashlib
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foveal.data.audit.scan import ScanOptions
from foveal.data.images.pixels import read_views
from foveal.data.images.render import AUDIT_SIDE, render, render_views, shrink_limit
from foveal.data.images.render_cache import RenderCache
from foveal.values import Entry, Preprocess
from pictures import draw, encoded, read_one

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 300))


@given(SIZES, st.sampled_from(["crop", "squash", "pad"]), st.integers(1, 80), st.floats(0.3, 1.0))
@settings(max_examples=50, deadline=None)
def test_any_image_becomes_the_square(size, resize, side, share):
    found = render(Image.new("RGB", size, (10, 20, 30)), Preprocess(size=side, resize=resize, crop_share=share))
    assert (found.shape, found.dtype) == ((side, side, 3), np.uint8)
    if resize != "pad":
        assert (found == (10, 20, 30)).all()


@given(SIZES, st.integers(8, 80))
@settings(max_examples=50, deadline=None)
def test_padding_shows_the_whole_image_in_the_middle(size, side):
    found = render(Image.new("RGB", size, "black"), Preprocess(size=side, background=(255, 0, 0)))
    inside = (found == 0).all(axis=2)
    assert ((found == (255, 0, 0)).all(axis=2) == ~inside).all()
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert max(len(rows), len(columns)) == side
    assert len(columns) == pytest.approx(max(1, side * size[0] / max(size)), abs=1)
    for found_there in (rows, columns):
        assert abs(found_there[0] - (side - 1 - found_there[-1])) <= 1


def test_cropping_is_pillows_resize_of_the_centre():
    picture = draw(1, (160, 80))
    expected = picture.resize((56, 56), Image.Resampling.BICUBIC, box=(45, 5, 115, 75))
    found = render(picture, Preprocess(size=56, resize="crop", crop_share=0.875))
    inner = np.abs(found.astype(int) - np.asarray(expected, dtype=int))[3:-3, 3:-3]
    assert inner.max() <= 1


def test_squashing_is_pillows_resize():
    picture = draw(2, (150, 90))
    found = render(picture, Preprocess(size=50, resize="squash", interpolation="bilinear"))
    expected = np.asarray(picture.resize((50, 50), Image.Resampling.BILINEAR), dtype=int)
    assert np.abs(found.astype(int) - expected).max() <= 3


def test_a_mirrored_view_is_the_plain_one_turned():
    picture = draw(2, (90, 60))
    plain, mirrored = render_views(picture, Preprocess(size=32), ("plain", "mirror"))
    assert np.array_equal(plain, render(picture, Preprocess(size=32)))
    assert np.array_equal(mirrored, np.fliplr(plain))


@pytest.mark.parametrize("view", ["squash", "pad", "centre", "crop"])
def test_a_view_with_a_geometry_is_that_of_a_preprocessing_with_it(view):
    picture, share = draw(2, (90, 60)), {"centre": 1.0, "crop": 0.875}.get(view)
    expected = Preprocess(size=32, resize="crop", crop_share=share) if share else Preprocess(size=32, resize=view)
    for preprocess in (Preprocess(size=32), Preprocess(size=32, resize="squash")):
        rendered = render_views(picture, preprocess, ("plain", view))
        assert np.array_equal(rendered[1], render(picture, expected))
        assert np.array_equal(rendered[0], render(picture, preprocess))


def test_a_view_is_decoded_alike_whichever_others_are_rendered_with_it():
    limits = {shrink_limit(Preprocess(size=224, resize=resize)) for resize in ("squash", "pad", "crop")}
    limits.add(shrink_limit(Preprocess(size=224, resize="crop", crop_share=1.0)))
    assert len(limits) == 1


def test_no_image_is_shrunk_below_what_audit_and_network_want():
    assert shrink_limit(Preprocess(size=64)) == AUDIT_SIDE
    assert shrink_limit(Preprocess(size=384)) == round(384 / 0.875)
    assert shrink_limit(Preprocess(size=350, resize="crop", crop_share=0.875)) == 400


def half_clear():
    picture = draw(4, (700, 500)).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 350, 500))
    return picture


KINDS = {
    "large jpeg": encoded(draw(3, (1500, 1100)), "JPEG"),
    "odd jpeg": encoded(draw(3, (451, 449)), "JPEG"),
    "png": encoded(draw(3, (1000, 700)), "PNG"),
    "small": encoded(draw(3, (30, 20)), "PNG"),
    "transparent": encoded(half_clear(), "PNG"),
    "palette": encoded(draw(3, (700, 500)).quantize(16), "GIF"),
}
PREPROCESSES = [
    Preprocess(size=64),
    Preprocess(size=240, resize="crop", interpolation="bilinear"),
    Preprocess(size=48, resize="squash"),
    Preprocess(size=64, background=(0, 0, 0)),
]


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("preprocess", PREPROCESSES, ids=["pad", "crop", "squash", "on black"])
def test_spooled_and_read_again_are_the_same_to_the_bit(tmp_path, kind, preprocess):
    path = tmp_path / "a"
    path.write_bytes(KINDS[kind])
    render_cache = RenderCache(preprocess)
    found = read_one(Entry(str(path), "x"), ScanOptions(render_cache=render_cache))
    kept = render_cache.pop(found.sha256)
    assert kept.tobytes() == read_views(found, preprocess, ("plain",))[0].tobytes()


def test_a_render_cache_gives_each_image_once_and_forgets_it():
    render_cache = RenderCache(Preprocess(size=16))
    render_cache.put("a", draw(1))
    assert render_cache.pop("a").shape == (16, 16, 3)
    assert render_cache.pop("a") is None
    assert render_cache.pop("never offered") is None


def test_a_full_render_cache_keeps_no_more_until_something_is_taken():
    render_cache = RenderCache(Preprocess(size=16), max_bytes=2 * 3 * 16**2)
    for name in "abc":
        render_cache.put(name, draw(1))
    assert render_cache.pop("c") is None
    assert render_cache.pop("a") is not None
    render_cache.put("c", draw(1))
    assert render_cache.pop("c") is not None
    assert render_cache.pop("b") is not None


def test_offering_twice_costs_room_once():
    render_cache = RenderCache(Preprocess(size=16), max_bytes=2 * 3 * 16**2)
    for _ in range(5):
        render_cache.put("a", draw(1))
    render_cache.put("b", draw(2))
    assert render_cache.pop("b") is not None


class MeetingImage(Image.Image):
    """Its resizing waits for the other thread's."""

    def __init__(self, image, meet):
        super().__init__()
        self.__setstate__(image.__getstate__())
        self._meet = meet

    def resize(self, *arguments, **options):
        with contextlib.suppress(threading.BrokenBarrierError):
            self._meet.wait()
        return super().resize(*arguments, **options)


def test_two_threads_with_one_image_cost_room_once():
    """Exact copies are read side by side: both may be rendered, one is kept and counted."""
    meet = threading.Barrier(2, timeout=0.3)
    render_cache = RenderCache(Preprocess(size=16), max_bytes=2 * 3 * 16**2)
    threads = [
        threading.Thread(target=render_cache.put, args=("a", MeetingImage(draw(1), meet))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    render_cache.put("b", draw(2))
    assert render_cache.pop("a") is not None
    assert render_cache.pop("b") is not None


def test_peeking_leaves_everything_in_place():
    render_cache = RenderCache(Preprocess(size=16))
    names = [hashlib.sha256(bytes([i])).hexdigest() for i in range(5)]
    for i, name in enumerate(names):
        render_cache.put(name, draw(i))
    assert render_cache.peek(3).shape == (3, 16, 16, 3)
    assert render_cache.peek(99).shape == (5, 16, 16, 3)
    assert all(render_cache.pop(name) is not None for name in names)
