"""`split.csv`: written and read back, whatever the files are called."""

import csv
import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data.split.assign import make_split
from foveal.data.split.split_csv import read_split, read_subsets, split_to_csv
from foveal.data.targets.labels import Labels
from foveal.data.targets.masks import Masks
from foveal.errors import DataError
from foveal.files import read_csv, write_text
from foveal.values import Excluded, LabelMap, MaskRecord, Split, SplitRecord
from pictures import record

#: What a file can be called: any bytes but the zero, as Python hands them on.
NAMES = st.binary(min_size=1, max_size=20).map(lambda b: os.fsdecode(b.replace(b"\0", b"-")))
NASTY = st.lists(st.sampled_from(["a", ",", '"', "\n", "\r", "\r\n", ";", " ", "'", "é", "\udcff"])).map("".join)


def back(path):
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as handle:
        return read_csv(handle)


@given(
    st.lists(st.tuples(NAMES | NASTY, NAMES, st.sampled_from(["train", "val", "test"])), min_size=1, max_size=6)
)
@settings(max_examples=50, deadline=None)
def test_round_trip_with_odd_names(tmp_path_factory, rows):
    placed = [
        SplitRecord(record(i, label, path=path), side, "g", "") for i, (path, label, side) in enumerate(rows)
    ]
    left = [Excluded(path, "broken", path, label, f"{i:064x}") for i, (path, label, _) in enumerate(rows)]
    target = tmp_path_factory.mktemp("s") / "split.csv"
    write_text(target, split_to_csv(Split(tuple(placed), tuple(left), ()), Labels()))
    found = back(target)
    assert [(r["path"], r["label"], r["split"]) for r in found] == [
        *((path, label, side) for path, label, side in rows),
        *((path, label, "") for path, label, _ in rows),
    ]
    assert read_subsets(target) == {p.record.sha256: p.subset for p in placed}


def test_columns_and_rows(tmp_path):
    split = Split(
        (SplitRecord(record(1), "train", "g7", "kept"),),
        (Excluded("/p/x.jpg", "truncated", "ends early", "b"), Excluded("/p/y", "hidden", "hidden file")),
        ("a", "b"),
    )
    rows = list(csv.reader(io.StringIO(split_to_csv(split, Labels()))))
    assert rows == [
        ["path", "sha256", "label", "split", "group", "note"],
        ["/p/a/1.jpg", record(1).sha256, "a", "train", "g7", "kept"],
        ["/p/x.jpg", "", "b", "", "", "truncated: ends early"],
        ["/p/y", "", "", "", "", "hidden: hidden file"],
    ]


def test_what_was_excluded_is_drawn_anew_from_an_earlier_split(tmp_path):
    records = [record(i, "ab"[i % 2]) for i in range(40)]
    split = make_split(records, [], target=Labels())
    gone = {records[3].sha256}
    write_text(tmp_path / "split.csv", split_to_csv(split.without(gone, "no_time", "late"), Labels()))
    previous = read_subsets(tmp_path / "split.csv")
    assert set(previous) == {r.sha256 for r in records} - gone
    assert len(make_split(records, [], target=Labels(), previous=previous).placed) == 40


@pytest.mark.parametrize(
    "content", [b"path,label\na,b\n", b"some words\nand more\n", b"\xff\xd8\xff\n\0\1\2\n", b'"' + b"x" * 200_000]
)
def test_another_file_is_a_data_error(tmp_path, content):
    (tmp_path / "split.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_subsets(tmp_path / "split.csv")
    assert str(tmp_path) in str(caught.value)
    assert caught.value.hint


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"split\.csv") as caught:
        read_subsets(tmp_path / "split.csv")
    assert caught.value.hint


@given(st.lists(st.tuples(NAMES, NAMES, st.sampled_from(["train", "val", "test"])), max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_split_of_masks_comes_back(tmp_path_factory, rows):
    target = Masks(label_map=LabelMap(("a", "b"), (0, 1)))
    placed = [
        SplitRecord(record(i, None, path=path, mask=MaskRecord(mask, f"{i:064x}", False, ())), subset, f"g{i}", "")
        for i, (path, mask, subset) in enumerate(rows)
    ]
    excluded = [Excluded(path, "empty_mask", mask, None, f"{i:064x}") for i, (path, mask, _) in enumerate(rows)]
    file = tmp_path_factory.mktemp("s") / "split.csv"
    write_text(file, split_to_csv(target.restore_split(placed, excluded), target))
    again = read_split(file, target)

    def kept(split):
        return [(p.record.path, p.record.sha256, target.files(p.record), p.subset, p.group) for p in split.placed]

    assert sorted(kept(again)) == sorted(kept(target.restore_split(placed, excluded)))
    assert again.excluded == tuple(excluded)
    assert (again.classes, again.label_map) == (("a", "b"), target.label_map)
