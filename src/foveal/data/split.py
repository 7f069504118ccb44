"""Who learns, who calibrates, who tests: 70/15/15, and nothing on two sides.

Copies, near-duplicates, the user's groups, bursts of one camera and neighbouring frames of a video stay
together. A picture's side follows from a hash of its own content, so adding pictures never moves an old
one; a set of pictures that stay together follows its oldest file. Only a handful of sets, as the blocks of
a video or two are, is drawn by rank, so that none of the sides is empty by bad luck.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from foveal.data.duplicates import exact_copies, join_all
from foveal.data.labels import Labels
from foveal.data.truth import Truth
from foveal.errors import DataError
from foveal.files import CsvWriter
from foveal.values import SIDES, ImageRecord, LeftOut, Placed, Side, Split

SHARES: dict[Side, float] = {"train": 0.70, "val": 0.15, "test": 0.15}
#: Of many pictures validation needs fewer: it calibrates, and the more there are to learn from, the better.
#: It lies inside what the share above would take, so growing past this moves pictures from `val` to `train` only.
MANY = 20_000
SHARES_OF_MANY: dict[Side, float] = {"train": 0.83, "val": 0.02, "test": 0.15}
BURST_SECONDS = 2.0
#: Fewer sets than this are drawn by rank, where the truth asks for it.
FEW_SETS = 40

#: Where copies are torn apart by a given split, the copy on the first of these sides stays.
_PRECEDENCE: tuple[Side, ...] = ("test", "val", "train")


def make_split(
    records: Sequence[ImageRecord],
    near: Sequence[tuple[int, int]],
    left_out: Sequence[LeftOut] = (),
    *,
    seed: int = 0,
    previous: Mapping[str, Side] | None = None,
    truth: Truth | None = None,
    test: bool = True,
) -> Split:
    """Place every picture.

    Args:
        records: what was read; their `split` is kept where it was given.
        near: near-duplicates, as indices into `records`.
        left_out: what was left out so far; carried into the result.
        seed: another seed, another split.
        previous: side by SHA-256 from an earlier run, kept for every picture in it.
        truth: what is known of the pictures; by default their labels.
        test: whether a test side is drawn where none was given.

    Raises:
        DataError: when fewer than two classes have a picture to learn from, or a test side was given and none is
            wanted.
    """
    truth = truth or Labels()
    conflicting = _conflicting(records, truth)
    sets = together(records, [*near, *truth.neighbours(records)])
    shares, redraw = _shares_to_make(records, test=test)
    draw: Callable[[ImageRecord], float] = partial(_by_content, seed=seed)
    if truth.few_sets:
        free = [m for m in sets if all(_is_free(records[i], previous or {}, redraw=redraw) for i in m)]
        draw = _ranked(records, free, shares, seed)
    placed: list[Placed] = []
    out = list(left_out)
    for members in sets:
        usable = [i for i in members if records[i].sha256 not in conflicting]
        out += [
            _out(records[i], "conflicting_labels", f"the same picture has two {truth.answers}")
            for i in set(members) - set(usable)
        ]
        if not usable:
            continue
        sides = _sides(records, usable, shares, redraw=redraw, draw=draw, previous=previous or {})
        group = min(records[i].sha256 for i in members)[:12]
        for i in usable:
            side, note = sides[i]
            side = "train" if side == "test" and not test else side  # all others stay where they would be
            if side is None:
                out.append(_out(records[i], note, _WHY[note]))
            else:
                placed.append(Placed(records[i], side, group, note))
    beside = _beside_held_out(placed, [(records[a], records[b]) for a, b in truth.too_near(records)])
    out += [_out(p.record, "beside_held_out", _WHY["beside_held_out"]) for p in placed if p.record.path in beside]
    return truth.split([p for p in placed if p.record.path not in beside], out)


_WHY = {
    "beside_held_out": "the next frames of the video are on the held-out side",
    "bridges_split": "it is nearly the same as pictures on both sides of the earlier split",
    "leak_between_splits": "the same or nearly the same picture is on the held-out side",
}


def _sides(
    records: Sequence[ImageRecord],
    members: Sequence[int],
    shares: Mapping[Side, float],
    *,
    redraw: bool,
    draw: Callable[[ImageRecord], float],
    previous: Mapping[str, Side],
) -> dict[int, tuple[Side | None, str]]:
    """The side of each member of one set, or None with the reason why it is left out."""
    known = {i: previous[records[i].sha256] for i in members if records[i].sha256 in previous}
    if known:
        kept = set(known.values())
        new: tuple[Side | None, str] = (None, "bridges_split") if len(kept) > 1 else (min(kept), "")
        return {i: (known[i], "kept") if i in known else new for i in members}
    fixed = {i: as_side(records[i].split) for i in members if not _is_free(records[i], {}, redraw=redraw)}
    if fixed:
        stays = min(fixed.values(), key=_PRECEDENCE.index)
        return {i: _beside(records[i], stays, given=i in fixed) for i in members}
    return dict.fromkeys(members, (_drawn(draw(_oldest(records, members)), shares), ""))


def _is_free(record: ImageRecord, previous: Mapping[str, Side], *, redraw: bool) -> bool:
    """Whether nobody has said on which side a picture belongs."""
    given = record.split is not None and not (redraw and record.split == "train")
    return not given and record.sha256 not in previous


def _beside(record: ImageRecord, stays: Side, *, given: bool) -> tuple[Side | None, str]:
    """A picture whose set belongs to the given side `stays`: it joins, unless it was given to another."""
    if record.split in (None, stays):
        return stays, "given" if given else ""
    return None, "leak_between_splits"


def _oldest(records: Sequence[ImageRecord], members: Sequence[int]) -> ImageRecord:
    return min((records[i] for i in members), key=lambda r: (r.file_time, r.sha256, r.group or ""))


def _by_content(record: ImageRecord, seed: int) -> float:
    """A number from 0 to 1 drawn by content; for a picture of a user's group by the group's name."""
    key = record.sha256 if record.group is None else f"group:{record.group}"
    digest = hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _ranked(
    records: Sequence[ImageRecord], drawn: Sequence[Sequence[int]], shares: Mapping[Side, float], seed: int
) -> Callable[[ImageRecord], float]:
    """The same, spread evenly by pictures when only a few sets are to be drawn.

    The first in line falls to the test side. A set of more pictures than a side should have stands at the end of
    the line, where it falls to the training side: half of a data set was once held out in one piece.
    """
    by_content = partial(_by_content, seed=seed)
    if len(drawn) >= FEW_SETS:
        return by_content
    line = sorted((by_content(_oldest(records, members)), len(members)) for members in drawn)
    total = sum(size for _, size in line)
    most = min(shares.values()) / sum(shares.values()) * total
    places, before = {}, 0
    for number, size in sorted(line, key=lambda item: (item[1] > most, item)):
        places[number] = (before + 0.29 * size) / total
        before += size
    return lambda record: places.get(number := by_content(record), number)


def _drawn(number: float, shares: Mapping[Side, float]) -> Side:
    """The side on which a number from 0 to 1 falls."""
    rest = number * sum(shares.values())
    for side in _PRECEDENCE:
        rest -= shares.get(side, 0.0)
        if rest < 0:
            return side
    return "train"


def _beside_held_out(placed: Sequence[Placed], pairs: Sequence[tuple[ImageRecord, ImageRecord]]) -> set[str]:
    """Paths of those on the training side that are too near to one on another side."""
    where = {p.record.path: p for p in placed}
    found = set()
    for pair in pairs:
        both = [where[r.path] for r in pair if r.path in where]
        if len({p.side for p in both}) == 2:
            found |= {p.record.path for p in both if p.side == "train" and p.note != "given"}
    return found


def _shares_to_make(records: Sequence[ImageRecord], *, test: bool) -> tuple[dict[Side, float], bool]:
    """The shares of what is drawn by hash, and whether a given `train` is drawn from.

    It is, when a given split lacks a side and every picture has one already.
    """
    given = {r.split for r in records if r.split is not None}
    if "test" in given and not test:
        raise DataError("a test side is given, and --no-test asks for none", hint="leave --no-test out")
    blanks = any(r.split is None for r in records)
    missing: list[Side] = [s for s in SIDES if s not in given and s != "train"]
    shares = SHARES if len(records) < MANY else SHARES_OF_MANY
    if not given or (blanks and not missing):
        return dict(shares), False
    made: list[Side] = ["train", *missing]
    lacking = bool(missing) if test else "val" in missing
    return {s: shares[s] for s in made}, lacking and not blanks


def as_side(split: str | None) -> Side:
    """The side of this name."""
    return next(s for s in SIDES if s == split)


def _conflicting(records: Sequence[ImageRecord], truth: Truth) -> set[str]:
    return {records[m[0]].sha256 for m in exact_copies(records) if len({truth.answer(records[i]) for i in m}) > 1}


def together(records: Sequence[ImageRecord], near: Sequence[Sequence[int]]) -> list[list[int]]:
    """All records in sets that must stay on one side; most sets have one member."""
    by_group: dict[str, list[int]] = defaultdict(list)
    for i, record in enumerate(records):
        if record.group is not None:
            by_group[record.group].append(i)
    joined = join_all(len(records), [*exact_copies(records), *near, *by_group.values(), *bursts(records)])
    sets: dict[int, list[int]] = defaultdict(list)
    for i in range(len(records)):
        sets[joined.root(i)].append(i)
    return list(sets.values())


def bursts(records: Sequence[ImageRecord]) -> list[tuple[int, int]]:
    """Pairs of pictures that one camera took within two seconds of each other."""
    timed = sorted(
        (r.camera, r.taken_at, i) for i, r in enumerate(records) if r.camera is not None and r.taken_at is not None
    )
    return [(a[2], b[2]) for a, b in pairwise(timed) if a[0] == b[0] and b[1] - a[1] <= BURST_SECONDS]


def _out(record: ImageRecord, reason: str, detail: str) -> LeftOut:
    return LeftOut(record.path, reason, detail, record.label, record.sha256)


_COLUMNS = ("path", "sha256", "label", "split", "group", "note")
#: Where pictures have masks, these come behind.
_OF_MASKS = ("mask", "mask_sha256")


def split_as_csv(split: Split) -> str:
    """`split.csv`: every picture, the left-out ones with an empty split and their reason."""
    buffer = io.StringIO()
    writer = CsvWriter(buffer)
    masks = split.legend is not None
    writer.writerow(_COLUMNS + (_OF_MASKS if masks else ()))
    for p in split.placed:
        mask = [p.record.mask.path, p.record.mask.sha256] if p.record.mask else []
        writer.writerow([p.record.path, p.record.sha256, p.record.label or "", p.side, p.group, p.note, *mask])
    for item in split.left_out:
        row = [item.path, item.sha256, item.label or "", "", "", f"{item.reason}: {item.detail}"]
        writer.writerow(row + ["", ""] * masks)
    return buffer.getvalue()


def read_sides(path: Path) -> dict[str, Side]:
    """Side by SHA-256 from a run's `split.csv`.

    Raises:
        DataError: when the file is missing or has other columns.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: {error}", hint="give the folder of a finished run") from None
    if rows and not set(_COLUMNS) <= set(rows[0]):
        raise DataError(f"{path}: not a split that foveal wrote", hint="give the folder of a finished run")
    return {row["sha256"]: as_side(row["split"]) for row in rows if row["split"] in SIDES and row["sha256"]}
