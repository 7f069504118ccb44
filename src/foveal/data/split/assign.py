"""Training, validation and test subsets, 70/15/15, without anything shared between them.

Copies, near-duplicates, the user's groups, bursts of one camera and neighbouring frames of a video stay in one
subset. The subset of an image follows from a hash of its content, so adding images does not move an old one; images
that stay together follow the oldest file among them. Exceptions, for the sake of small data sets and rare classes:

- Where there are few groups, as the blocks of one or two videos, they are drawn by rank, so that no subset is empty
  by bad luck.
- Images with several labels are drawn by iterative stratification, so that rare labels are in all subsets. The subset
  of an image then depends on all images; `split_from` keeps those of an earlier run where they are.
- A class of which nothing was drawn for training gets its oldest images there, so that it is learned at all. When a
  later image of the class is drawn for training, they return to where they were drawn.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np

from foveal.data.audit.duplicates import Joined, exact_copies, join_all
from foveal.data.targets.stratification import iterative_stratification
from foveal.data.targets.target import Target
from foveal.errors import DataError
from foveal.values import SUBSETS, Excluded, ImageRecord, Split, SplitRecord, Subset

SHARES: dict[Subset, float] = {"train": 0.70, "val": 0.15, "test": 0.15}
#: Of many images, calibration needs a smaller share, and training gains from more. The smaller share of validation
#: is part of the larger one, so a data set that grows past this moves images from `val` to `train` only.
MANY = 20_000
SHARES_OF_MANY: dict[Subset, float] = {"train": 0.83, "val": 0.02, "test": 0.15}
BURST_SECONDS = 2.0
#: Fewer groups than this are drawn by rank, for targets with `rank_few_groups`.
FEW_GROUPS = 40

#: A subset with a note, or None with the reason why an image is excluded.
_Choice = tuple[Subset | None, str]

#: Where a given split divides copies, the copy in the first of these subsets stays.
_PRECEDENCE: tuple[Subset, ...] = ("test", "val", "train")


def make_split(
    records: Sequence[ImageRecord],
    near: Sequence[tuple[int, int]],
    excluded: Sequence[Excluded] = (),
    *,
    target: Target,
    seed: int = 0,
    previous: Mapping[str, Subset] | None = None,
    test: bool = True,
) -> Split:
    """Assign every image to a subset, or exclude it, and refuse what can't be learned from.

    The arguments are those of `assign`; `excluded` is what was excluded before, and is carried into the result.

    Raises:
        DataError: when there is not enough to learn from, or a test subset was given and none is wanted.
    """
    placed, out = assign(records, near, target=target, seed=seed, previous=previous, test=test)
    return target.build_split(placed, [*excluded, *out])


def assign(
    records: Sequence[ImageRecord],
    near: Sequence[tuple[int, int]],
    *,
    target: Target,
    seed: int = 0,
    previous: Mapping[str, Subset] | None = None,
    test: bool = True,
) -> tuple[list[SplitRecord], list[Excluded]]:
    """Assign every image to a subset, or exclude it.

    Args:
        records: what was read; their `split` is kept where it was given.
        near: near-duplicates, as indices into `records`.
        target: what is to be learned about the images.
        seed: another seed, another split.
        previous: subset by SHA-256 from an earlier run, kept for every image in it.
        test: whether a test subset is drawn where none was given.

    Returns:
        Images with their subsets, and those that are excluded, with the reason.

    Raises:
        DataError: when a test subset was given and none is wanted.
    """
    previous = previous or {}
    conflicting = _conflicting(records, target)
    groups = together(records, [*near, *target.sequences(records)])
    shares, redraw = _shares_to_draw(records, test=test)
    is_free = [_is_free(record, previous, redraw=redraw) for record in records]
    draw: Callable[[ImageRecord], float] = partial(_by_content, seed=seed)
    if target.rank_few_groups:
        draw = _ranked(records, [g for g in groups if all(is_free[i] for i in g)], shares, seed)
    elif target.stratified:
        draw = _stratified(records, [g for g in groups if all(is_free[i] for i in g)], shares, target, seed)
    alike = join_all(len(records), [*exact_copies(records), *near])
    usable = [kept for members in groups if (kept := [i for i in members if records[i].sha256 not in conflicting])]
    subsets: dict[int, _Choice] = {}
    for members in usable:
        if len(members) == 1 and is_free[members[0]]:  # nearly all of many images
            subsets[members[0]] = (_drawn(draw(records[members[0]]), shares), "")
        else:
            subsets |= _subsets(
                records, members, shares, is_free=is_free, draw=draw, previous=previous, alike=alike
            )
    drawn = [members for members in usable if all(is_free[i] for i in members)]
    subsets |= _for_classes_without_training(records, drawn, subsets, target)
    placed, out = _place(records, groups, subsets, target, test=test)
    divided = _divided(placed, [(records[a], records[b]) for a, b in target.separations(records)])
    out += [_exclude(p.record, "beside_held_out", target) for p in placed if p.record.path in divided]
    return [p for p in placed if p.record.path not in divided], out


def _place(
    records: Sequence[ImageRecord],
    groups: Sequence[Sequence[int]],
    subsets: Mapping[int, _Choice],
    target: Target,
    *,
    test: bool,
) -> tuple[list[SplitRecord], list[Excluded]]:
    """Each image in its subset, or excluded; without a test subset, its images are trained on."""
    placed: list[SplitRecord] = []
    out: list[Excluded] = []
    for members in groups:
        first = members[0]
        group = (records[first].sha256 if len(members) == 1 else min(records[i].sha256 for i in members))[:12]
        for i in members:
            subset, note = subsets.get(i, (None, "conflicting_labels"))
            if subset is None:
                out.append(_exclude(records[i], note, target))
            else:
                learned = subset == "test" and not test  # all other images stay where they would be
                placed.append(SplitRecord(records[i], "train" if learned else subset, group, note))
    return placed, out


#: Why an image is excluded, by reason code.
_REASONS = {
    "beside_held_out": "the next frames of the video are held out",
    "bridges_split": "it is nearly the same as images in two subsets of the earlier split",
    "conflicting_labels": "the same image has two {plural}",
    "group_between_splits": "it belongs together with a held-out image: one group, burst or sequence",
    "leak_between_splits": "the same or nearly the same image is held out",
}


def _subsets(
    records: Sequence[ImageRecord],
    members: Sequence[int],
    shares: Mapping[Subset, float],
    *,
    is_free: Sequence[bool],
    draw: Callable[[ImageRecord], float],
    previous: Mapping[str, Subset],
    alike: Joined,
) -> dict[int, _Choice]:
    """The subset of each member of one group, or None with the reason why it is excluded."""
    known = {i: previous[records[i].sha256] for i in members if records[i].sha256 in previous}
    if known:
        kept = set(known.values())
        new: _Choice = (None, "bridges_split") if len(kept) > 1 else (min(kept), "")
        return {i: (known[i], "kept") if i in known else new for i in members}
    fixed = {i: as_subset(records[i].split) for i in members if not is_free[i]}
    if fixed:
        stays = min(fixed.values(), key=_PRECEDENCE.index)
        held_out = {alike.root(i) for i in fixed if records[i].split == stays}
        return {i: _join(records[i], stays, given=i in fixed, leak=alike.root(i) in held_out) for i in members}
    return dict.fromkeys(members, (_drawn(draw(_oldest(records, members)), shares), ""))


def _for_classes_without_training(
    records: Sequence[ImageRecord],
    drawn: Sequence[Sequence[int]],
    subsets: Mapping[int, _Choice],
    target: Target,
) -> dict[int, _Choice]:
    """The oldest of the drawn groups of each class that has no training image, moved to the training subset."""
    trained: set[str] = set()
    for i, (subset, _) in subsets.items():
        if subset == "train":
            trained.update(target.classes_in(records[i]))
    groups: dict[str, list[Sequence[int]]] = defaultdict(list)
    for members in drawn:
        for name in {c for i in members for c in target.classes_in(records[i]) if c not in trained}:
            groups[name].append(members)
    moved: dict[int, _Choice] = {}
    for name, candidates in sorted(groups.items()):
        if name not in trained:
            oldest = min(candidates, key=lambda members: _age(_oldest(records, members)))
            moved |= dict.fromkeys(oldest, ("train", "for_its_class"))
            trained.update(c for i in oldest for c in target.classes_in(records[i]))
    return moved


def _is_free(record: ImageRecord, previous: Mapping[str, Subset], *, redraw: bool) -> bool:
    """Whether neither the data nor an earlier split assigns an image to a subset."""
    given = record.split is not None and not (redraw and record.split == "train")
    return not given and record.sha256 not in previous


def _join(record: ImageRecord, stays: Subset, *, given: bool, leak: bool) -> _Choice:
    """An image whose group belongs to the given subset `stays`: it joins, unless it was given to another."""
    if record.split in (None, stays):
        return stays, "given" if given else ""
    return None, "leak_between_splits" if leak else "group_between_splits"


def _oldest(records: Sequence[ImageRecord], members: Sequence[int]) -> ImageRecord:
    return min((records[i] for i in members), key=_age)


def _age(record: ImageRecord) -> tuple[int, str, str]:
    return record.file_time, record.sha256, record.group or ""


def _by_content(record: ImageRecord, seed: int) -> float:
    """A number in [0, 1) drawn by content; for an image of a user's group by the group's name."""
    key = record.sha256 if record.group is None else f"group:{record.group}"
    digest = hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _ranked(
    records: Sequence[ImageRecord], drawn: Sequence[Sequence[int]], shares: Mapping[Subset, float], seed: int
) -> Callable[[ImageRecord], float]:
    """`_by_content`, with the numbers spread evenly over the images when there are only a few groups to draw.

    The smallest numbers fall to the test subset. A group of more images than a held-out subset should have gets
    one of the largest, and so falls to the training subset: half of a data set was once held out in one piece.
    """
    by_content = partial(_by_content, seed=seed)
    if len(drawn) >= FEW_GROUPS:
        return by_content
    line = sorted((by_content(_oldest(records, members)), len(members)) for members in drawn)
    total = sum(size for _, size in line)
    most = min(shares.values()) / sum(shares.values()) * total
    places, before = {}, 0
    for number, size in sorted(line, key=lambda item: (item[1] > most, item)):
        places[number] = (before + 0.29 * size) / total
        before += size
    return lambda record: places.get(number := by_content(record), number)


def _stratified(
    records: Sequence[ImageRecord],
    drawn: Sequence[Sequence[int]],
    shares: Mapping[Subset, float],
    target: Target,
    seed: int,
) -> Callable[[ImageRecord], float]:
    """`_by_content`, with numbers that lead to subsets by iterative stratification; groups are taken in its order."""
    by_content = partial(_by_content, seed=seed)
    line = sorted((by_content(_oldest(records, members)), i) for i, members in enumerate(drawn))
    members = [drawn[i] for _, i in line]
    names = {name: k for k, name in enumerate(target.class_counts(records))}
    counts = np.zeros((len(members), len(names)), dtype=np.int64)
    for row, group in zip(counts, members, strict=True):
        for name in (name for i in group for name in target.classes_in(records[i])):
            row[names[name]] += 1
    ends = dict(_ends(tuple(shares.items())))
    subsets = [subset for subset in _PRECEDENCE if subset in shares]
    parts = iterative_stratification(counts, np.array([len(g) for g in members]), [shares[s] for s in subsets])
    begins = dict(zip(ends, [0.0, *ends.values()], strict=False))
    places = {
        number: (begins[subsets[part]] + ends[subsets[part]]) / 2
        for (number, _), part in zip(line, parts.tolist(), strict=True)
    }
    return lambda record: places.get(number := by_content(record), number)


def _drawn(number: float, shares: Mapping[Subset, float]) -> Subset:
    """The subset for a number in [0, 1)."""
    return next((subset for subset, end in _ends(tuple(shares.items())) if number < end), "train")


@lru_cache(maxsize=8)
def _ends(shares: tuple[tuple[Subset, float], ...]) -> list[tuple[Subset, float]]:
    """Where the numbers of each subset end."""
    known, total, end = dict(shares), sum(share for _, share in shares), 0.0
    ends: list[tuple[Subset, float]] = []
    for subset in _PRECEDENCE:
        end += known.get(subset, 0.0)
        ends.append((subset, end / total))
    return ends


def _divided(placed: Sequence[SplitRecord], pairs: Sequence[tuple[ImageRecord, ImageRecord]]) -> set[str]:
    """Paths of training images whose pair was assigned to a held-out subset."""
    if not pairs:
        return set()
    by_path = {p.record.path: p for p in placed}
    divided = set()
    for pair in pairs:
        both = [by_path[r.path] for r in pair if r.path in by_path]
        if len({p.subset for p in both}) == 2:
            divided |= {p.record.path for p in both if p.subset == "train" and p.note != "given"}
    return divided


def _shares_to_draw(records: Sequence[ImageRecord], *, test: bool) -> tuple[dict[Subset, float], bool]:
    """The shares of what is drawn by hash, and whether images given to `train` are drawn again.

    They are when a given split lacks a subset and assigns every image.
    """
    given = {r.split for r in records if r.split is not None}
    if "test" in given and not test:
        raise DataError("the data has a test subset, and --no-test asks for none", hint="remove --no-test")
    blanks = any(r.split is None for r in records)
    missing: list[Subset] = [s for s in SUBSETS if s not in given and s != "train"]
    shares = SHARES if len(records) < MANY else SHARES_OF_MANY
    if not given or (blanks and not missing):
        return dict(shares), False
    drawn: list[Subset] = ["train", *missing]
    lacking = bool(missing) if test else "val" in missing
    return {s: shares[s] for s in drawn}, lacking and not blanks


def as_subset(split: str | None) -> Subset:
    """The subset of this name."""
    return next(s for s in SUBSETS if s == split)


def _conflicting(records: Sequence[ImageRecord], target: Target) -> set[str]:
    return {records[m[0]].sha256 for m in exact_copies(records) if len({target.key(records[i]) for i in m}) > 1}


def together(records: Sequence[ImageRecord], near: Sequence[Sequence[int]]) -> list[list[int]]:
    """All records in groups that must stay in one subset, as indices; most groups have one member."""
    by_group: dict[str, list[int]] = defaultdict(list)
    for i, record in enumerate(records):
        if record.group is not None:
            by_group[record.group].append(i)
    joined = join_all(len(records), [*exact_copies(records), *near, *by_group.values(), *bursts(records)])
    groups: dict[int, list[int]] = defaultdict(list)
    for i in range(len(records)):
        groups[joined.root(i)].append(i)
    return list(groups.values())


def bursts(records: Sequence[ImageRecord]) -> list[tuple[int, int]]:
    """Pairs of images that one camera took within two seconds of each other."""
    timed = sorted(
        (r.camera, r.taken_at, i) for i, r in enumerate(records) if r.camera is not None and r.taken_at is not None
    )
    return [(a[2], b[2]) for a, b in pairwise(timed) if a[0] == b[0] and b[1] - a[1] <= BURST_SECONDS]


def _exclude(record: ImageRecord, reason: str, target: Target) -> Excluded:
    return Excluded(
        record.path, reason, _REASONS[reason].format(plural=target.plural), record.label, record.sha256
    )
