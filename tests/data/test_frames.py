"""Frames of a video are told from numbered images by their likeness, and neighbours stay on one side."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data.split.assign import make_split
from foveal.data.targets.frames import BLOCK, across_cuts, frame_blocks
from foveal.data.targets.masks import Masks
from foveal.values import LabelMap, MaskRecord
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


def test_numbered_images_are_no_video():
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


def test_a_few_blocks_are_dealt_to_all_subsets_and_cuts_are_guarded():
    records = [replace(r) for k in range(3) for r in frames(90, prefix=f"s{k}_", seed=k)]
    truth = Masks(label_map=LabelMap(("a", "b"), (0, 1)))
    split = make_split(records, [], target=truth)
    assert {p.subset for p in split.placed} == {"train", "val", "test"}
    side_of = {p.record.path: p.subset for p in split.placed}
    out = [x for x in split.excluded if x.reason == "beside_held_out"]
    assert out and len(out) + len(split.placed) == len(records)
    for a, b in across_cuts(records):
        sides = {side_of.get(records[a].path), side_of.get(records[b].path)} - {None}
        assert len(sides) < 2 or "train" not in sides
    for block in frame_blocks(records):
        assert len({side_of[records[i].path] for i in block if records[i].path in side_of}) == 1


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=4, max_size=30),
    tested=st.integers(0, 40),
    seed=st.integers(0, 5),
)
def test_few_sets_are_dealt_by_images_and_the_largest_learn(sizes, tested, seed):
    """Of CamVid, 133 of 367 frames once fell to the validation subset: two sets of eight, one of them of 101."""
    records = [
        replace(record(f"{g}-{i}", None, path=f"/p/{g}/{i}.png", mask=MASK), group=str(g), file_time=g)
        for g, size in enumerate(sizes)
        for i in range(size)
    ]
    given_to_test = [
        replace(record(f"t{i}", None, path=f"/t/{i}.png", mask=MASK), group="t", split="test")
        for i in range(tested)
    ]
    split = make_split(
        [*records, *given_to_test], [], target=Masks(label_map=LabelMap(("a", "b"), (0, 1))), seed=seed
    )
    drawn = [p for p in split.placed if not p.record.path.startswith("/t")]
    count = {side: sum(p.subset == side for p in drawn) for side in ("train", "val", "test")}
    shares = {"train": 0.70, "val": 0.15, **({} if tested else {"test": 0.15})}
    assert sum(count.values()) == sum(sizes) and not (tested and count["test"])
    for side in shares.keys() - {"train"}:
        most = shares[side] / sum(shares.values()) * sum(sizes)
        if max(sizes) <= most:
            assert 0 < count[side] <= 2 * most
        of = {p.record.group for p in drawn if p.subset == side}
        larger = [n for n in sizes if n > most]
        if sum(larger) <= 0.5 * sum(sizes):
            assert all(sizes[int(g)] <= most for g in of)
