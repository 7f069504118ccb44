"""Frames of a video are told from numbered pictures by their likeness, and neighbours stay on one side."""

from dataclasses import replace

import numpy as np

from foveal.data.frames import BLOCK, across_cuts, frame_blocks
from foveal.data.masks import Masks
from foveal.data.split import make_split
from foveal.values import Legend, MaskRecord
from pictures import record

MASK = MaskRecord("m.png", "0", False, ((0, 5), (1, 5)), (), (5, 5, 0))


def frames(count, *, prefix="drive", step=30, alike=True, begin=0, seed=0):
    """Records whose thumbs drift slowly, or not at all alike."""
    chance = np.random.default_rng(seed)
    thumb = chance.normal(128, 40, 768)
    found = []
    for i in range(count):
        thumb = 0.9 * (thumb - 128) + 128 + chance.normal(0, 17, 768) if alike else chance.normal(128, 40, 768)
        pixels = np.clip(thumb, 0, 255).astype(np.uint8).tobytes()
        path = f"/p/{prefix}_{begin + i * step:06d}.png"
        found.append(record(f"{prefix}{begin}{i}", None, path=path, thumb=pixels, file_time=i, mask=MASK))
    return found


def test_numbered_pictures_are_no_video():
    assert frame_blocks(frames(60, alike=False)) == []
    assert frame_blocks(frames(5)) == []  # too few to tell


def test_runs_are_cut_at_gaps_and_into_blocks():
    records = frames(70) + frames(20, begin=90_000, seed=1) + frames(12, prefix="other", seed=2)
    blocks = frame_blocks(records)
    assert sorted(i for b in blocks for i in b) == list(range(102))
    assert sorted(map(len, blocks)) == [12, 20, BLOCK, 70 - BLOCK]
    assert all(len({records[i].path[:9] for i in b}) == 1 for b in blocks)
    cuts = across_cuts(records)
    assert cuts == [(29, 30), (29, 31), (28, 30)]


def test_order_of_reading_does_not_matter():
    records = frames(65)
    order = np.random.default_rng(0).permutation(65)
    blocks = frame_blocks([records[i] for i in order])
    named = {tuple(sorted(records[order[i]].path for i in b)) for b in blocks}
    assert named == {tuple(sorted(records[i].path for i in b)) for b in frame_blocks(records)}


def test_a_few_blocks_are_dealt_to_all_sides_and_cuts_are_guarded():
    records = [replace(r) for k in range(3) for r in frames(90, prefix=f"s{k}_", seed=k)]
    truth = Masks(legend=Legend(("a", "b"), (0, 1)))
    split = make_split(records, [], truth=truth)
    assert {p.side for p in split.placed} == {"train", "val", "test"}
    side_of = {p.record.path: p.side for p in split.placed}
    out = [x for x in split.left_out if x.reason == "beside_held_out"]
    assert out and len(out) + len(split.placed) == len(records)
    for a, b in across_cuts(records):
        sides = {side_of.get(records[a].path), side_of.get(records[b].path)} - {None}
        assert len(sides) < 2 or "train" not in sides
    for block in frame_blocks(records):
        assert len({side_of[records[i].path] for i in block if records[i].path in side_of}) == 1
