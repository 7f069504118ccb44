"""`Preprocess` on pictures, and pictures kept so that none is decoded twice."""

import contextlib
import hashlib
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foveal.data.pixels import render_file
from foveal.data.render import LOOK, render, seen_as, shrink_limit
from foveal.data.scan import look_at
from foveal.data.spool import Spool
from foveal.values import Entry, Preprocess
from pictures import draw, encoded

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 300))


@given(SIZES, st.sampled_from(["crop", "squash", "pad"]), st.integers(1, 80), st.floats(0.3, 1.0))
@settings(max_examples=50, deadline=None)
def test_any_picture_becomes_the_square(size, resize, side, share):
    found = render(Image.new("RGB", size, (10, 20, 30)), Preprocess(size=side, resize=resize, crop_share=share))
    assert (found.shape, found.dtype) == ((side, side, 3), np.uint8)
    if resize != "pad":
        assert (found == (10, 20, 30)).all()


@given(SIZES, st.integers(8, 80))
@settings(max_examples=50, deadline=None)
def test_padding_shows_the_whole_picture_in_the_middle(size, side):
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


def test_views():
    pixels = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3)
    assert seen_as(pixels, "plain") is pixels
    mirrored = seen_as(pixels, "mirror")
    assert (mirrored == np.stack([np.fliplr(p) for p in pixels])).all()
    assert mirrored.flags.c_contiguous
    with pytest.raises(ValueError, match="upside"):
        seen_as(pixels, "upside")


def test_no_picture_is_shrunk_below_what_audit_and_network_want():
    assert shrink_limit(Preprocess(size=64)) == LOOK
    assert shrink_limit(Preprocess(size=384)) == 384
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
    spool = Spool(preprocess)
    found = look_at(Entry(str(path), "x"), spool=spool)
    kept = spool.take(found.sha256)
    assert kept.tobytes() == render_file(KINDS[kind], str(path), preprocess).tobytes()


def test_a_spool_gives_each_picture_once_and_forgets_it():
    spool = Spool(Preprocess(size=16))
    spool.offer("a", draw(1))
    assert spool.take("a").shape == (16, 16, 3)
    assert spool.take("a") is None
    assert spool.take("never offered") is None


def test_a_full_spool_keeps_no_more_until_something_is_taken():
    spool = Spool(Preprocess(size=16), max_bytes=2 * 3 * 16**2)
    for name in "abc":
        spool.offer(name, draw(1))
    assert spool.take("c") is None
    assert spool.take("a") is not None
    spool.offer("c", draw(1))
    assert spool.take("c") is not None
    assert spool.take("b") is not None


def test_offering_twice_costs_room_once():
    spool = Spool(Preprocess(size=16), max_bytes=2 * 3 * 16**2)
    for _ in range(5):
        spool.offer("a", draw(1))
    spool.offer("b", draw(2))
    assert spool.take("b") is not None


def test_two_threads_with_one_picture_cost_room_once(monkeypatch):
    """Exact copies are read side by side: both may be rendered, one is kept and counted."""
    meet = threading.Barrier(2, timeout=0.3)

    def slowly(*arguments):
        with contextlib.suppress(threading.BrokenBarrierError):
            meet.wait()
        return render(*arguments)

    monkeypatch.setattr("foveal.data.spool.render", slowly)
    spool = Spool(Preprocess(size=16), max_bytes=2 * 3 * 16**2)
    threads = [threading.Thread(target=spool.offer, args=("a", draw(1))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    spool.offer("b", draw(2))
    assert spool.take("a") is not None
    assert spool.take("b") is not None


def test_peeking_leaves_everything_in_place():
    spool = Spool(Preprocess(size=16))
    names = [hashlib.sha256(bytes([i])).hexdigest() for i in range(5)]
    for i, name in enumerate(names):
        spool.offer(name, draw(i))
    assert spool.peek(3).shape == (3, 16, 16, 3)
    assert spool.peek(99).shape == (5, 16, 16, 3)
    assert all(spool.take(name) is not None for name in names)
