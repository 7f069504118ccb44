"""The rules of the split, as properties: who stays together, what never moves, what is kept."""

import hashlib
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data.split import assign
from foveal.data.split.assign import SHARES, bursts
from foveal.data.targets.labels import Labels
from foveal.errors import DataError
from foveal.values import Excluded
from pictures import record

make_split = partial(assign.make_split, target=Labels())

#: In every data set here, so that each of two classes always has an image to learn from.
BASE = [record(f"base {i}", "ab"[i % 2], file_time=i) for i in range(60)]

DRAWN = st.lists(
    st.builds(
        lambda n, label, group, camera, second: record(
            n,
            label,
            path=f"/p/{n}-{label}-{group}-{second}.jpg",
            group=group,
            camera=camera,
            taken_at=float(second),
            file_time=100 + n,
        ),
        st.integers(0, 12),
        st.sampled_from("ab"),
        st.sampled_from([None, None, "g1", "g2"]),
        st.sampled_from([None, None, "nikon"]),
        st.integers(0, 40),
    ),
    max_size=14,
    unique_by=lambda r: r.path,
)


def pairs_of(records, drawn):
    """Near pairs as the audit gives them: of different contents, `i < j`."""
    near = {(i % len(records), j % len(records)) for i, j in drawn}
    return [(i, j) for i, j in sorted(near) if i < j and records[i].sha256 != records[j].sha256]


def sides(split):
    return {p.record.path: p.subset for p in split.placed}


PAIRS = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=6)


@given(DRAWN, PAIRS, st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_what_belongs_together_is_on_one_subset(drawn, pairs, seed):
    records = [*BASE, *drawn]
    near = pairs_of(records, pairs)
    split = make_split(records, near, seed=seed)
    side, group = sides(split), {p.record.path: p.group for p in split.placed}

    def together(one, other):
        if one.path in side and other.path in side:
            assert side[one.path] == side[other.path]
            assert group[one.path] == group[other.path]

    for i, j in near:
        together(records[i], records[j])
    for one in drawn:
        for other in drawn:
            close = one.camera and one.camera == other.camera and abs(one.taken_at - other.taken_at) <= 2
            if one.sha256 == other.sha256 or (one.group and one.group == other.group) or close:
                together(one, other)


@given(DRAWN, PAIRS, st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_every_image_is_placed_or_excluded_with_a_reason(drawn, pairs, seed):
    records = [*BASE, *drawn]
    before = (Excluded("/p/gone.jpg", "missing", "so"),)
    split = make_split(records, pairs_of(records, pairs), before, seed=seed)
    paths = [p.record.path for p in split.placed] + [i.path for i in split.excluded]
    assert sorted(paths) == sorted([*(r.path for r in records), "/p/gone.jpg"])
    labels = {}
    for r in records:
        labels.setdefault(r.sha256, set()).add(r.label)
    torn = {r.path for r in records if len(labels[r.sha256]) > 1}
    assert {i.path for i in split.excluded if i.reason == "conflicting_labels"} == torn
    assert split.classes == ("a", "b")


@given(DRAWN, PAIRS, st.integers(0, 3), st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_images_does_not_matter(drawn, pairs, seed, random):
    records = [*BASE, *drawn]
    near = pairs_of(records, pairs)
    order = list(range(len(records)))
    random.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    shuffled = make_split([records[i] for i in order], [(place[i], place[j]) for i, j in near], seed=seed)
    assert shuffled.placed == make_split(records, near, seed=seed).placed


@given(st.integers(0, 3), st.integers(1, 40), st.booleans())
@settings(max_examples=30, deadline=None)
def test_adding_images_moves_no_old_one(seed, added, near):
    """New images are newer, and each is like one old image at most (see `--split-from` for bridges)."""
    new = [record(f"new {i}", "ab"[i % 2], file_time=1000 + i) for i in range(added)]
    pairs = [(i % len(BASE), len(BASE) + i) for i in range(added)] if near else []
    before, after = sides(make_split(BASE, [], seed=seed)), sides(make_split([*BASE, *new], pairs, seed=seed))
    assert {path: after[path] for path in before} == before
    assert len(after) == len(BASE) + added


@given(st.integers(0, 3))
@settings(max_examples=5, deadline=None)
def test_adding_to_a_group_moves_no_old_image_of_it(seed):
    old = [replace(r, group=f"g{i // 4}") for i, r in enumerate(BASE)]
    new = [record(f"new {i}", "a", group=f"g{i}", file_time=-5) for i in range(20)]
    before, after = sides(make_split(old, [], seed=seed)), sides(make_split([*old, *new], [], seed=seed))
    assert {path: after[path] for path in before} == before


GIVEN = st.sampled_from(
    [(None,), ("train",), ("train", "val", "train"), ("train", None, None), ("val", None, None)]
)


@given(st.integers(0, 3), GIVEN)
@settings(max_examples=20, deadline=None)
def test_without_a_test_subset_its_images_are_learned_from_and_all_others_stay(seed, given_sides):
    records = [replace(r, split=given_sides[i % len(given_sides)]) for i, r in enumerate(BASE)]
    with_test, without = (sides(make_split(records, [], seed=seed, test=test)) for test in (True, False))
    assert "test" in with_test.values()
    assert without == {path: "train" if side == "test" else side for path, side in with_test.items()}


def test_a_test_subset_that_is_given_is_not_learned_from():
    with pytest.raises(DataError, match="--no-test"):
        make_split([with_split(i, "test" if i % 2 else "train") for i in range(8)], [], test=False)


def test_shares_are_near_70_15_15_in_every_class():
    records = [record(i, "abc"[i % 3]) for i in range(6000)]
    split = make_split(records, [])
    for label in "abc":
        counts = Counter(p.subset for p in split.placed if p.record.label == label)
        for side, share in SHARES.items():
            assert abs(counts[side] / 2000 - share) < 4 * (share * (1 - share) / 2000) ** 0.5


def test_another_seed_is_another_split_and_the_same_seed_the_same():
    records = [record(i, "ab"[i % 2]) for i in range(400)]
    zero, one = make_split(records, [], seed=0), make_split(records, [], seed=1)
    assert make_split(records, [], seed=0) == zero
    differ = sum(sides(zero)[p] != sides(one)[p] for p in sides(zero)) / 400
    # Two independent draws agree in 0.7² + 2 · 0.15² = 0.535 of the images.
    assert abs(differ - 0.465) < 0.12


def with_split(n, split, label=None):
    return record(n, label or "ab"[n % 2], split=split)


def test_a_full_given_split_is_kept():
    given_sides = {n: ("train", "train", "val", "test")[n % 4] if n % 3 else "train" for n in range(80)}
    split = make_split([with_split(n, side) for n, side in given_sides.items()], [])
    assert sides(split) == {with_split(n, side).path: side for n, side in given_sides.items()}
    assert {p.note for p in split.placed} == {"given"}


@pytest.mark.parametrize(
    ("has", "makes"), [({"train", "test"}, {"val"}), ({"train", "val"}, {"test"}), ({"train"}, {"val", "test"})]
)
def test_a_missing_subset_is_made_from_training_images(has, makes):
    held = sorted(has - {"train"})
    records = [with_split(n, held[0] if held and n % 5 == 0 else "train") for n in range(1000)]
    split = make_split(records, [])
    counts = Counter(p.subset for p in split.placed)
    assert set(counts) == {"train", "val", "test"}
    for p in split.placed:
        assert p.subset == p.record.split if p.record.split != "train" else p.subset in {"train", *makes}
    drawn = sum(r.split == "train" for r in records)
    total = 0.70 + 0.15 * len(makes)
    for side in makes:
        assert abs(counts[side] / drawn - 0.15 / total) < 0.05


def test_images_without_a_given_subset_are_placed_and_the_others_kept():
    records = [with_split(n, [None, "test", None, "train"][n % 4], "ab"[n % 3 % 2]) for n in range(400)]
    split = make_split(records, [])
    for p in split.placed:
        assert p.record.split in (None, p.subset)
    free = Counter(p.subset for p in split.placed if p.record.split is None)
    assert set(free) == {"train", "val"}


def test_a_leak_in_a_given_split_stays_on_the_held_out_subset():
    records = [with_split(n, ("train", "val", "test")[n % 3], "ab"[n // 3 % 2]) for n in range(30)]
    leaks = [
        replace(records[1], split="train", path="/p/leak 1"),
        replace(records[2], split="val", path="/p/leak 2"),
    ]
    split = make_split([*records, *leaks], [(0, 5)])
    assert {(i.path, i.reason) for i in split.excluded} == {
        ("/p/leak 1", "leak_between_splits"),
        ("/p/leak 2", "leak_between_splits"),
        (records[0].path, "leak_between_splits"),
    }
    assert sides(split)[records[5].path] == "test"


@given(st.integers(0, 3), st.integers(0, 30), PAIRS)
@settings(max_examples=40, deadline=None)
def test_split_from_keeps_everything_and_leaves_bridges_out(seed, added, pairs):
    before = make_split(BASE, [], seed=0)
    previous = {p.record.sha256: p.subset for p in before.placed}
    new = [record(f"new {i}", "ab"[i % 2], file_time=-i) for i in range(added)]
    records = [*BASE, *new]
    near = pairs_of(records, pairs)
    after = make_split(records, near, seed=seed, previous=previous)
    assert {path: side for path, side in sides(after).items() if path in sides(before)} == sides(before)
    bridges = {i.path for i in after.excluded}
    assert {i.reason for i in after.excluded} <= {"bridges_split"}
    assert bridges.isdisjoint(sides(before))
    for i, j in near:
        a, b = records[i], records[j]
        if a.path in sides(after) and b.path in sides(after) and not {a.sha256, b.sha256} <= set(previous):
            assert sides(after)[a.path] == sides(after)[b.path]


def test_a_bridge_is_excluded_and_said():
    before = make_split(BASE, [])
    previous = {p.record.sha256: p.subset for p in before.placed}
    learned, tested = (next(i for i, r in enumerate(BASE) if previous[r.sha256] == s) for s in ("train", "test"))
    bridge, follower = record("bridge"), record("follower")
    near = [(learned, 60), (tested, 60), (tested, 61)]
    one = make_split([*BASE, bridge, follower], [near[2]], previous=previous)
    assert sides(one)[follower.path] == "test"
    both = make_split([*BASE, bridge], near[:2], previous=previous)
    assert [(i.path, i.reason) for i in both.excluded] == [(bridge.path, "bridges_split")]
    assert {p.note for p in both.placed if p.record.sha256 in previous} == {"kept"}


def test_bursts_are_of_one_camera_within_two_seconds():
    shots = [
        ("nikon", 0.0),
        ("nikon", 2.0),
        ("nikon", 4.5),
        ("sony", 0.5),
        ("sony", 4.0),
        (None, 0.0),
        ("nikon", None),
    ]
    records = [record(i, camera=c, taken_at=t) for i, (c, t) in enumerate(shots)]
    assert bursts(records) == [(0, 1)]


def test_a_class_that_nothing_can_be_learned_about_is_excluded():
    split = make_split([*BASE, with_split(1, "test", "c")], [])
    assert split.classes == ("a", "b")
    assert [(i.label, i.reason) for i in split.excluded] == [("c", "class_not_in_train")]


@pytest.mark.parametrize(
    "records",
    [
        [],
        [record(i) for i in range(50)],
        [with_split(n, "test") for n in range(9)],
        [record(1, "a"), record(1, "b")],
    ],
)
def test_fewer_than_two_classes_is_a_data_error(records):
    with pytest.raises(DataError) as caught:
        make_split(records, [])
    assert caught.value.hint


def test_a_row_without_a_subset_moves_no_image_of_an_earlier_split():
    """A CSV with `train` and `test` got a validation subset; later a row without a side is added to it."""
    records = [with_split(n, "test" if n % 5 == 0 else "train") for n in range(200)]
    before = make_split(records, [])
    previous = {p.record.sha256: p.subset for p in before.placed}
    after = make_split([*records, record("new", file_time=10**6)], [], previous=previous)
    assert {path: sides(after)[path] for path in sides(before)} == sides(before)


def test_a_given_train_image_never_joins_the_test_subset():
    """Also not where the training subset is drawn from, to make a validation subset that was not given."""
    train = [record(i, label, split="train") for i, label in enumerate("ab" * 20)]
    test = [record(100 + i, label, split="test") for i, label in enumerate("ab" * 4)]
    split = make_split([*train, *test], [(0, 40)])
    assert len(split.subset("test")) == 8 and len(split.subset("val")) > 0
    assert [x.reason for x in split.excluded] == ["leak_between_splits"]
    assert split.excluded[0].path == train[0].path


LARGE = [record(f"large {i}", "abc"[i % 3], file_time=i) for i in range(300)]


@pytest.mark.parametrize(
    ("how", "digest"),
    [
        ({}, "7d526884ff65eedf"),
        ({"seed": 7}, "e816b77e5fb82d5d"),
        ({"test": False}, "3f4a955a8ef3ec25"),
        ({"near": [(i, i + 3) for i in range(0, 60, 6)]}, "a1af1ce3aef12412"),
        ({"group": lambda i: f"g{i // 5}"}, "d6b194c29257e937"),
        ({"split": lambda i: ("train", "train", "test")[i // 3 % 3]}, "edbe2269b8fa2c7e"),
        ({"split": lambda i: "train"}, "7d526884ff65eedf"),
        ({"split": lambda i: (None, "train", "test")[i // 3 % 3]}, "b218de3a24608100"),
        ({"previous": lambda i: "val" if i % 7 == 0 else "train"}, "fb5103ec2c3cac29"),
    ],
)
def test_the_split_of_large_classes_is_that_of_earlier_versions(how, digest):
    """Recorded before classes without a training image were given one."""
    how = dict(how)
    group, split, previous = (how.pop(name, lambda i: None) for name in ("group", "split", "previous"))
    records = [replace(r, group=group(i), split=split(i)) for i, r in enumerate(LARGE)]
    earlier = {r.sha256: side for i, r in enumerate(records[:150]) if (side := previous(i))}
    placed = make_split(records, how.pop("near", []), previous=earlier, **how).placed
    text = "\n".join(f"{p.record.path} {p.subset} {p.group} {p.note}" for p in placed)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


SIZES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 6), min_size=2)


def small(sizes):
    return [record(f"{c} {i}", c, file_time=i) for c, n in sizes.items() for i in range(n)]


@given(SIZES, st.integers(0, 20), st.booleans())
@settings(max_examples=100, deadline=None)
def test_every_class_is_learned_however_small(sizes, seed, test):
    split = make_split(small(sizes), [], seed=seed, test=test)
    assert split.classes == tuple(sorted(sizes)) and not split.excluded
    for p in split.placed:
        same = [q for q in split.placed if q.record.label == p.record.label and q.subset == "train"]
        assert same and (p.note != "for_its_class" or same == [p] or not test)


@given(SIZES, st.integers(0, 20), st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_an_added_image_moves_an_old_one_only_where_its_class_had_none_drawn_for_training(sizes, seed, at):
    """Then the old image returns to where it was drawn; an earlier split keeps even that one."""
    records = small(sizes)
    label = sorted(sizes)[at % len(sizes)]
    new = record("new", label, file_time=1000)
    before, after = make_split(records, [], seed=seed), make_split([*records, new], [], seed=seed)
    old, now = sides(before), sides(after)
    moved = {path for path in old if now[path] != old[path]}
    assert moved <= {p.record.path for p in before.placed if p.note == "for_its_class" and p.record.label == label}
    assert not moved or now[new.path] == "train"
    previous = {p.record.sha256: p.subset for p in before.placed}
    kept = sides(make_split([*records, new], [], seed=seed, previous=previous))
    assert {path: kept[path] for path in old} == old


@pytest.mark.parametrize(("classes", "each"), [(160, 3), (500, 3), (2, 1), (2, 2)])
def test_sets_of_tiny_classes(classes, each):
    split = make_split(small({f"class {k}": each for k in range(classes)}), [])
    assert len(split.classes) == classes and len(split.placed) == classes * each


def test_a_class_that_was_given_to_the_test_subset_is_not_taken_from_it():
    split = make_split([*BASE, *(with_split(i, "test", "c") for i in range(4))], [])
    assert split.classes == ("a", "b") and {x.reason for x in split.excluded} == {"class_not_in_train"}


def test_a_group_across_given_subsets_is_told_from_a_leak():
    records = [with_split(n, ("train", "test")[n % 4 == 0], "ab"[n // 4 % 2]) for n in range(40)]
    records[1] = replace(records[1], group="g")
    records[4] = replace(records[4], group="g")
    leak = replace(records[8], split="train", path="/p/leak")
    split = make_split([*records, leak], [])
    assert {(x.path, x.reason) for x in split.excluded} == {
        (records[1].path, "group_between_splits"),
        ("/p/leak", "leak_between_splits"),
    }
