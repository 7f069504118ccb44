"""Files that are whole or absent, JSON for everything, digests."""

import csv
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal import files


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


def test_replacing_swaps_in_the_new_content(tmp_path):
    target = tmp_path / "deep" / "er" / "a.txt"
    with files.replacing(target) as part:
        part.write_text("new")
        assert not target.exists()
        assert part.parent == target.parent
    assert target.read_text() == "new"
    assert names_in(target.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_no_crumbs(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), files.replacing(target) as part:
        part.write_text("half of the n")
        raise error
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_a_failed_rename_leaves_no_crumbs(tmp_path):
    target = tmp_path / "taken"
    (target / "full").mkdir(parents=True)
    with pytest.raises(OSError):
        files.write_bytes(target, b"x")
    assert names_in(tmp_path) == ["taken"]


def test_the_content_is_on_the_disk_before_the_rename(tmp_path, monkeypatch):
    events = []
    replace, fsync = Path.replace, files.os.fsync
    monkeypatch.setattr(Path, "replace", lambda *a: (events.append("rename"), replace(*a)))
    monkeypatch.setattr(files.os, "fsync", lambda h: (events.append("sync"), fsync(h)))
    files.write_text(tmp_path / "a.txt", "x")
    assert events == ["sync", "rename", "sync"]


def test_two_writers_do_not_share_a_part(tmp_path):
    target = tmp_path / "a.txt"
    with files.replacing(target) as one, files.replacing(target) as two:
        assert one != two
        one.write_text("1")
        two.write_text("2")
    assert target.read_text() == "1"


@pytest.mark.parametrize("name", ["x" * 255, "写" * 84, "é" * 127], ids=["ascii", "three bytes", "two bytes"])
def test_the_longest_names_can_be_written(tmp_path, name):
    files.write_text(tmp_path / name, "x")
    assert names_in(tmp_path) == [name]


@given(st.text())
@settings(max_examples=40, deadline=None)
def test_text_is_kept_to_the_letter(tmp_path_factory, text):
    target = tmp_path_factory.mktemp("t") / "a.txt"
    files.write_text(target, text)
    assert target.read_bytes() == text.encode()


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path):
    files.write_text(tmp_path / "a", b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert (tmp_path / "a").read_bytes() == b"caf\xe9"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
@settings(max_examples=50, deadline=None)
def test_json_round_trip(tmp_path_factory, value):
    target = tmp_path_factory.mktemp("j") / "a.json"
    files.write_json(target, value)
    assert files.read_json(target) == value
    assert files.digest_of(value) == files.digest_of(files.read_json(target))


@given(st.dictionaries(st.text(max_size=3), st.integers(), min_size=2, max_size=6))
@settings(max_examples=30, deadline=None)
def test_digests_do_not_mind_the_order_of_keys(value):
    assert files.digest_of(dict(reversed(value.items()))) == files.digest_of(value)
    changed = {**value, next(iter(value)): next(iter(value.values())) + 1}
    assert files.digest_of(changed) != files.digest_of(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (float("nan"), None),
        ([float("inf"), -float("inf"), 1.5], [None, None, 1.5]),
        (np.float32("nan"), None),
        (np.int64(3), 3),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        (np.array(2.5), 2.5),
        ((1, (2, 3)), [1, [2, 3]]),
        ({1: Path("/a/b")}, {"1": "/a/b"}),
        (np.bool_(True), True),
    ],
)
def test_everything_becomes_strict_json(value, plain):
    text = files.dumps(value)
    assert json.loads(text, parse_constant=pytest.fail) == plain


def test_odd_names_survive_json(tmp_path):
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    files.write_json(tmp_path / "a.json", {"path": name})
    assert (tmp_path / "a.json").read_bytes().isascii()
    assert files.read_json(tmp_path / "a.json")["path"] == name


def test_sha256_of_a_file(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert files.sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_the_environment_names_the_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "c"))
    monkeypatch.setenv("FOVEAL_STATE", str(tmp_path / "s"))
    assert (files.cache_dir(), files.state_dir()) == (tmp_path / "c", tmp_path / "s")
    monkeypatch.delenv("FOVEAL_CACHE")
    monkeypatch.delenv("FOVEAL_STATE")
    assert files.cache_dir() != files.state_dir()
    assert "foveal" in str(files.cache_dir())
    assert "foveal" in str(files.state_dir())


TRIGGERS = st.text(alphabet="'=+-@\t\r\n＝a1.|", max_size=6)


@given(st.lists(st.lists(TRIGGERS | st.text(max_size=4), min_size=2, max_size=2), max_size=4))
@settings(max_examples=200, deadline=None)
def test_csv_is_read_as_it_was_written_and_holds_no_formula(rows):
    buffer = io.StringIO(newline="")
    writer = files.CsvWriter(buffer)
    for row in [["a", "b"], *rows]:
        writer.writerow(row)
    read = files.read_csv(io.StringIO(buffer.getvalue(), newline=""))
    assert [list(row.values()) for row in read] == rows
    for cell in (c for row in csv.reader(io.StringIO(buffer.getvalue(), newline="")) for c in row):
        assert cell[:1] not in "=@\t\r" or len(cell) < 2


def test_numbers_in_csv_are_no_formulas():
    buffer = io.StringIO()
    files.CsvWriter(buffer).writerow(["-1", "+2.5", -3.0, "-1+1", "=cmd|'calc'!A1"])
    assert buffer.getvalue() == "-1,+2.5,-3.0,'-1+1,'=cmd|'calc'!A1\n"
