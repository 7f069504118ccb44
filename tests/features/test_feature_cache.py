"""Features on disk: what was added comes back, what is damaged is dropped, what is switched off is silent."""

import hashlib
import os
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.features.cache import FeatureCache

EXAMPLES = count()


def sha(n):
    return hashlib.sha256(str(n).encode()).hexdigest()


def row(n, width=5):
    return np.random.default_rng(n).normal(size=width).astype(np.float32)


def filled(key, numbers, **options):
    cache = FeatureCache(key, **options)
    for n in numbers:
        cache.add(sha(n), row(n))
    cache.flush()
    return cache


def shards(cache):
    return sorted(cache.folder.glob("*"))


@given(st.lists(st.sets(st.integers(0, 40), max_size=12), max_size=4), st.sets(st.integers(0, 60)))
@settings(max_examples=30, deadline=None)
def test_what_was_added_comes_back_and_nothing_else(added, wanted):
    key = ["a space for one example", next(EXAMPLES)]
    for numbers in added:
        filled(key, numbers)
    found = FeatureCache(key).load([sha(n) for n in wanted])
    known = set().union(*added)
    assert set(found) == {sha(n) for n in wanted & known}
    for n in wanted & known:
        assert (found[sha(n)] == row(n)).all()


@pytest.mark.usefixtures("fresh_cache")
def test_spaces_are_kept_apart():
    filled(["lite0", "plain"], [1])
    assert FeatureCache(["lite0", "mirror"]).load([sha(1)]) == {}
    assert FeatureCache(["lite0", "plain"]).folder != FeatureCache(["lite0", "mirror"]).folder


@pytest.mark.usefixtures("fresh_cache")
@pytest.mark.parametrize("damage", ["cut", "flipped header", "empty", "words", "other tensors", "uneven"])
def test_a_damaged_shard_is_dropped_and_the_others_serve(damage):
    from safetensors.numpy import save_file

    cache = filled("k", [1, 2])
    (bad,) = shards(cache)
    filled("k", [3])
    content = bad.read_bytes()
    if damage == "cut":
        bad.write_bytes(content[:-3])
    elif damage == "flipped header":
        bad.write_bytes(b"\xff" * 8 + content[8:])
    elif damage == "empty":
        bad.write_bytes(b"")
    elif damage == "words":
        bad.write_bytes(b"words " * 99)
    elif damage == "other tensors":
        save_file({"x": np.zeros(3, dtype=np.float32)}, bad)
    else:
        save_file(
            {"sha256": np.zeros((3, 32), dtype=np.uint8), "features": np.zeros((2, 5), dtype=np.float32)}, bad
        )
    found = FeatureCache("k").load([sha(n) for n in (1, 2, 3)])
    assert set(found) == {sha(3)}
    assert not bad.exists()
    assert len(shards(cache)) == 1
    filled("k", [1, 2])
    assert set(FeatureCache("k").load([sha(n) for n in (1, 2, 3)])) == {sha(1), sha(2), sha(3)}


@pytest.mark.usefixtures("fresh_cache")
def test_no_flipped_bit_is_believed():
    cache = filled("k", range(4))
    (shard,) = shards(cache)
    content, random = shard.read_bytes(), np.random.default_rng(0)
    for place in random.integers(0, 8 * len(content), 300):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << (place % 8)
        shard.write_bytes(damaged)
        found = FeatureCache("k").load([sha(n) for n in range(4)])
        assert all((found[sha(n)] == row(n)).all() for n in range(4) if sha(n) in found)
        assert set(found) <= {sha(n) for n in range(4)}


@pytest.mark.usefixtures("fresh_cache")
@pytest.mark.parametrize(
    "features",
    [np.full((1, 5), np.nan, np.float32), np.zeros((1, 5), np.int64), np.zeros((1, 5)), np.zeros(1, np.float32)],
)
def test_features_of_another_kind_are_not_used(features):
    cache = FeatureCache("k")
    cache.add(sha(1), features[0])
    cache.flush()
    assert len(shards(cache)) == 1
    assert FeatureCache("k").load([sha(1)]) == {} and shards(cache) == []


@pytest.mark.usefixtures("fresh_cache")
def test_features_of_another_width_are_not_used():
    filled("k", [1])
    assert set(FeatureCache("k").load([sha(1)], 5)) == {sha(1)}
    assert FeatureCache("k").load([sha(1)], 6) == {}


@pytest.mark.usefixtures("fresh_cache")
def test_a_folder_in_the_place_of_a_shard_goes():
    cache = filled("k", [1])
    (cache.folder / "odd.safetensors").mkdir()
    assert set(FeatureCache("k").load([sha(1), sha(2)])) == {sha(1)}
    assert len(shards(cache)) == 1


@pytest.mark.usefixtures("fresh_cache")
def test_nothing_is_written_before_the_flush_and_nothing_twice(fresh_cache):
    cache = FeatureCache("k")
    cache.add(sha(1), row(1))
    assert not fresh_cache.exists()
    cache.flush()
    cache.flush()
    assert len(shards(cache)) == 1


@pytest.mark.usefixtures("fresh_cache")
def test_many_rows_are_written_in_shards_on_the_way():
    cache = FeatureCache("k", shard_rows=10)
    for n in range(25):
        cache.add(sha(n), row(n))
    assert len(shards(cache)) == 2
    cache.flush()
    assert len(shards(cache)) == 3
    assert len(FeatureCache("k").load([sha(n) for n in range(25)])) == 25


@pytest.mark.usefixtures("fresh_cache")
@pytest.mark.parametrize("wanted", [range(3), range(30)], ids=["some rows", "most rows"])
def test_only_rows_that_are_asked_for_have_to_be_whole(wanted):
    cache = filled("k", range(30))
    (shard,) = shards(cache)
    content = shard.read_bytes()
    place = content.index(row(29).tobytes())
    shard.write_bytes(content[:place] + b"\0\0\0\0" + content[place + 4 :])
    found = FeatureCache("k").load([sha(n) for n in wanted])
    assert (len(found), shard.exists()) == ((3, True) if len(wanted) == 3 else (0, False))


def test_switched_off_it_neither_reads_nor_writes(fresh_cache):
    filled("k", [1])
    before = shards(FeatureCache("k"))
    off = FeatureCache("k", enabled=False)
    off.add(sha(2), row(2))
    off.flush()
    assert off.load([sha(1), sha(2)]) == {}
    assert shards(off) == before
    assert fresh_cache.exists()


def test_a_cache_that_can_not_be_written_costs_no_run(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "file"))
    assert filled("k", [1]).load([sha(1)]) == {}


@pytest.mark.usefixtures("fresh_cache")
def test_the_longest_unused_spaces_go_first():
    spaces = [filled(key, range(50)).folder for key in ("old", "middle")]
    for age, space in enumerate(spaces):
        os.utime(space, (1000 + age, 1000 + age))
    size = sum(f.stat().st_size for f in spaces[0].iterdir())
    newest = filled("new", range(50), max_bytes=int(2.5 * size)).folder
    assert [s.is_dir() for s in (*spaces, newest)] == [False, True, True]
    filled("new", [99], max_bytes=0)
    assert [s.is_dir() for s in (*spaces, newest)] == [False, False, True]


@pytest.mark.usefixtures("fresh_cache")
def test_reading_a_space_is_using_it():
    used, unused = filled("used", range(50)), filled("unused", range(50))
    os.utime(used.folder, (1000, 1000))
    os.utime(unused.folder, (2000, 2000))
    FeatureCache("used").load([sha(1)])
    size = sum(f.stat().st_size for f in used.folder.iterdir())
    filled("new", range(50), max_bytes=int(2.5 * size))
    assert used.folder.is_dir()
    assert not unused.folder.is_dir()
