"""`split.csv`: written and read back, whatever the files are called."""

import csv
import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data.split import make_split, read_sides, split_as_csv
from foveal.errors import DataError
from foveal.files import write_text
from foveal.values import LeftOut, Placed, Split
from pictures import record

#: What a file can be called: any bytes but the zero, as Python hands them on.
NAMES = st.binary(min_size=1, max_size=20).map(lambda b: os.fsdecode(b.replace(b"\0", b"-")))
NASTY = st.lists(st.sampled_from(["a", ",", '"', "\n", "\r", "\r\n", ";", " ", "'", "é", "\udcff"])).map("".join)


def back(path):
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as handle:
        return list(csv.DictReader(handle))


@given(
    st.lists(st.tuples(NAMES | NASTY, NAMES, st.sampled_from(["train", "val", "test"])), min_size=1, max_size=6)
)
@settings(max_examples=50, deadline=None)
def test_round_trip_with_odd_names(tmp_path_factory, rows):
    placed = [Placed(record(i, label, path=path), side, "g", "") for i, (path, label, side) in enumerate(rows)]
    left = [LeftOut(path, "broken", path, label, f"{i:064x}") for i, (path, label, _) in enumerate(rows)]
    target = tmp_path_factory.mktemp("s") / "split.csv"
    write_text(target, split_as_csv(Split(tuple(placed), tuple(left), ())))
    found = back(target)
    assert [(r["path"], r["label"], r["split"]) for r in found] == [
        *((path, label, side) for path, label, side in rows),
        *((path, label, "") for path, label, _ in rows),
    ]
    assert read_sides(target) == {p.record.sha256: p.side for p in placed}


def test_columns_and_rows(tmp_path):
    split = Split(
        (Placed(record(1), "train", "g7", "kept"),),
        (LeftOut("/p/x.jpg", "truncated", "ends early", "b"), LeftOut("/p/y", "hidden", "hidden file")),
        ("a", "b"),
    )
    rows = list(csv.reader(io.StringIO(split_as_csv(split))))
    assert rows == [
        ["path", "sha256", "label", "split", "group", "note"],
        ["/p/a/1.jpg", record(1).sha256, "a", "train", "g7", "kept"],
        ["/p/x.jpg", "", "b", "", "", "truncated: ends early"],
        ["/p/y", "", "", "", "", "hidden: hidden file"],
    ]


def test_what_was_left_out_is_drawn_anew_from_an_earlier_split(tmp_path):
    records = [record(i, "ab"[i % 2]) for i in range(40)]
    split = make_split(records, [])
    gone = {records[3].sha256}
    write_text(tmp_path / "split.csv", split_as_csv(split.without(gone, "no_time", "late")))
    previous = read_sides(tmp_path / "split.csv")
    assert set(previous) == {r.sha256 for r in records} - gone
    assert len(make_split(records, [], previous=previous).placed) == 40


@pytest.mark.parametrize(
    "content", [b"path,label\na,b\n", b"some words\nand more\n", b"\xff\xd8\xff\n\0\1\2\n", b'"' + b"x" * 200_000]
)
def test_another_file_is_a_data_error(tmp_path, content):
    (tmp_path / "split.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_sides(tmp_path / "split.csv")
    assert str(tmp_path) in str(caught.value)
    assert caught.value.hint


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"split\.csv") as caught:
        read_sides(tmp_path / "split.csv")
    assert caught.value.hint
