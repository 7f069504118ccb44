"""Copies and near-copies are found, unlike images are not."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from foveal.data.audit.duplicates import MAX_BITS, Joined, exact_copies, join_all, near_pairs
from foveal.data.audit.scan import scan
from foveal.data.targets.labels import Labels
from foveal.values import Entry
from pictures import draw, encoded, record


def read(folder, **contents):
    entries = []
    for name, content in contents.items():
        path = folder / name
        path.write_bytes(content)
        entries.append(Entry(str(path), "x"))
    records, refused = scan(entries, Labels())
    assert not refused
    return records


PICTURE = draw(11, (400, 300))


@pytest.mark.parametrize(
    "copy",
    [
        encoded(PICTURE, "JPEG", quality=40),
        encoded(PICTURE, "WEBP", quality=60),
        encoded(PICTURE.resize((200, 150), Image.Resampling.LANCZOS), "PNG"),
        encoded(PICTURE.resize((520, 390), Image.Resampling.BICUBIC), "JPEG"),
        encoded(ImageEnhance.Brightness(PICTURE).enhance(1.03), "JPEG", quality=90),
        encoded(PICTURE.convert("RGBA"), "PNG"),
    ],
    ids=["quality 40", "webp", "half the size", "larger", "brighter", "with alpha"],
)
def test_a_image_saved_again_is_a_near_pair(tmp_path, copy):
    records = read(
        tmp_path, a=encoded(PICTURE, "JPEG", quality=95), b=encoded(draw(12, (400, 300)), "JPEG"), c=copy
    )
    assert near_pairs(records) == [(0, 2)]
    assert exact_copies(records) == []


def test_unlike_images_make_no_pair(tmp_path):
    records = read(tmp_path, **{f"p{i}": encoded(draw(i, (120, 90)), "JPEG") for i in range(60)})
    assert near_pairs(records) == []
    assert exact_copies(records) == []


def test_pale_images_are_not_near_for_being_pale(tmp_path):
    def faint(seed):
        return Image.eval(draw(seed, (200, 150)).convert("L"), lambda v: 250 + v // 52)

    records = read(tmp_path, **{f"p{i}": encoded(faint(i)) for i in range(20)})
    assert near_pairs(records) == []


def test_the_same_pattern_in_other_colours_is_another_image(tmp_path):
    records = read(tmp_path, red=encoded(draw(3, (200, 150), tint=0)), blue=encoded(draw(3, (200, 150), tint=2)))
    assert near_pairs(records) == []


def test_exact_copies_are_one_set_and_no_near_pair(tmp_path):
    content = encoded(PICTURE, "PNG")
    records = read(tmp_path, a=content, b=encoded(draw(1)), c=content, d=content)
    assert exact_copies(records) == [[0, 2, 3]]
    assert near_pairs(records) == []


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count):
    assert near_pairs([record(i) for i in range(count)]) == []


@given(st.lists(st.integers(0, 63), unique=True, max_size=16), st.integers(0, 2**64 - 1))
@settings(max_examples=50, deadline=None)
def test_hashes_up_to_the_limit_that_share_a_band_are_a_pair(flipped, phash):
    other = phash
    for bit in flipped:
        other ^= 1 << bit
    one = record(1, phash=phash)
    two = record(2, phash=other, thumb=one.thumb)
    share = {bit // 16 for bit in flipped} != {0, 1, 2, 3}
    assert near_pairs([one, two]) == ([(0, 1)] if len(flipped) <= MAX_BITS and share else [])


@given(st.lists(st.tuples(st.integers(0, 2), st.sets(st.integers(0, 63), max_size=6)), max_size=30))
@settings(max_examples=50, deadline=None)
def test_all_pairs_of_a_small_set_are_compared(drawn):
    hashes = []
    for base, flipped in drawn:
        value = (0, 2**64 - 1, 0x1234_5678_9ABC_DEF0)[base]
        for bit in flipped:
            value ^= 1 << bit
        hashes.append(value)
    thumb = record(0).thumb
    expected = [
        (i, j)
        for j in range(len(hashes))
        for i in range(j)
        if (hashes[i] ^ hashes[j]).bit_count() <= MAX_BITS
        and any((hashes[i] ^ hashes[j]) >> shift & 0xFFFF == 0 for shift in (0, 16, 32, 48))
    ]
    assert near_pairs([record(n, phash=h, thumb=thumb) for n, h in enumerate(hashes)]) == sorted(expected)


def test_alike_hashes_are_confirmed_on_pixels():
    one, other = record(1, phash=7), record(2, phash=7)
    assert near_pairs([one, other]) == []
    nearly = (np.frombuffer(one.thumb, dtype=np.uint8) // 2 * 2).tobytes()
    assert near_pairs([one, record(2, phash=7, thumb=nearly)]) == [(0, 1)]


def test_a_crowd_with_one_hash_is_joined_whole():
    """Far more likenesses than are compared pair by pair."""
    thumb = record(0).thumb
    records = [record(n, phash=5 if n < 300 else 2**63 + 5, thumb=thumb) for n in range(301)]
    assert join_all(301, near_pairs(records)).sets() == [list(range(301))]


@given(st.integers(1, 25), st.lists(st.lists(st.integers(0, 24), min_size=1, max_size=4), max_size=12))
@settings(max_examples=50, deadline=None)
def test_joining_is_what_scipy_calls_connected_components(n, groups):
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    groups = [[i % n for i in g] for g in groups]
    edges = [(g[0], other) for g in groups for other in g]
    rows, columns = [a for a, _ in edges], [b for _, b in edges]
    _, label = connected_components(
        coo_array((np.ones(len(edges)), (rows, columns)), shape=(n, n)), directed=False
    )
    joined = join_all(n, groups)
    roots = [joined.root(i) for i in range(n)]
    assert [[a == b for b in roots] for a in roots] == [[bool(a == b) for b in label] for a in label]
    assert sorted(i for members in joined.sets() for i in members) == [
        i for i in range(n) if roots.count(roots[i]) > 1
    ]


def test_sets_of_nothing():
    assert Joined(0).sets() == []
    assert Joined(3).sets() == []


def test_hashes_do_not_depend_on_the_order_of_reading(tmp_path):
    contents = {f"p{i}": encoded(draw(i)) for i in range(5)}
    forward = {r.path: (r.phash, r.thumb) for r in read(tmp_path, **contents)}
    backward = {r.path: (r.phash, r.thumb) for r in read(tmp_path, **dict(reversed(contents.items())))}
    assert forward == backward
    assert {hashlib.sha256(c).hexdigest() for c in contents.values()} == {
        r.sha256 for r in read(tmp_path, **contents)
    }
