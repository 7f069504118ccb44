"""What was measured of a content is not measured again, and whatever is wrong with the store costs only time."""

import json
import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foveal.config import TrainConfig
from foveal.data.audit.record_cache import FIELDS, RecordCache
from foveal.data.audit.scan import ScanOptions, scan
from foveal.data.images.render_cache import RenderCache
from foveal.data.sources.list_data import list_data
from foveal.data.targets.labels import Labels
from foveal.flow import train
from foveal.schema import signed
from foveal.values import Entry, Preprocess
from pictures import draw, encoded, make_folder, read_one

pytestmark = pytest.mark.usefixtures("fresh_cache")


@pytest.fixture
def entries(tmp_path):
    return list_data(make_folder(tmp_path / "photos", {"cat": 5, "dog": 5})).entries


def test_a_second_reading_takes_what_was_measured(entries, fresh_cache):
    first, _ = scan(entries, Labels(), ScanOptions(cache=True))
    assert scan(entries, Labels(), ScanOptions(cache=True))[0] == first
    base = sqlite3.connect(fresh_cache / "measured.sqlite3")
    with base:
        for name, text in base.execute("SELECT sha256, record FROM measured").fetchall():
            values = {**json.loads(text), "sharpness": 1234.5}  # no image is so sharp
            base.execute("UPDATE measured SET record = ? WHERE sha256 = ?", (json.dumps(signed(values)), name))
    base.close()
    believed, _ = scan(entries, Labels(), ScanOptions(cache=True))
    assert [r.sharpness for r in believed] == [1234.5] * len(entries)
    assert scan(entries, Labels())[0] == first


def test_another_content_is_measured(entries):
    first, _ = scan(entries, Labels(), ScanOptions(cache=True))
    with open(entries[0].path, "wb") as handle:
        handle.write(encoded(draw(77, (50, 60))))
    second, _ = scan(entries, Labels(), ScanOptions(cache=True))
    assert (second[0].width, second[0].height) == (50, 60)
    assert [r.sha256 for r in second[1:]] == [r.sha256 for r in first[1:]]
    assert second == scan(entries, Labels())[0]


def test_the_same_content_elsewhere_keeps_its_own_name_label_and_time(entries, tmp_path):
    scan(entries, Labels(), ScanOptions(cache=True))
    with open(entries[0].path, "rb") as source:
        (tmp_path / "copy.png").write_bytes(source.read())
    os.utime(tmp_path / "copy.png", ns=(1, 2))
    copy = Entry(str(tmp_path / "copy.png"), "other", "test", "g")
    with RecordCache([1]) as known:
        assert read_one(copy, known=known) == read_one(copy)


def test_other_ways_of_measuring_are_kept_apart(entries):
    whole, _ = scan(entries, Labels(), ScanOptions(cache=True))
    assert scan(entries, Labels(), ScanOptions(cache=True, max_pixels=10))[1], (
        "a limit is not passed by what an earlier run saw"
    )
    render_cache = RenderCache(Preprocess(size=32, background=(0, 0, 0)))
    assert (
        scan(entries, Labels(), ScanOptions(cache=True, render_cache=render_cache))[0] == whole
        and render_cache.peek(1).any()
    )


def test_refusals_are_not_kept(entries):
    file = Path(entries[0].path)
    content = file.read_bytes()
    file.write_bytes(b"")
    assert scan(entries, Labels(), ScanOptions(cache=True))[1]
    file.write_bytes(content)
    assert not scan(entries, Labels(), ScanOptions(cache=True))[1]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 300, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_damaged_store_costs_time_only(entries, fresh_cache, content):
    fresh_cache.mkdir()
    (fresh_cache / "measured.sqlite3").write_bytes(content)
    assert scan(entries, Labels(), ScanOptions(cache=True)) == scan(entries, Labels())
    assert scan(entries, Labels(), ScanOptions(cache=True)) == scan(entries, Labels())


def test_a_store_that_cannot_be_written_costs_time_only(entries, fresh_cache):
    fresh_cache.mkdir()
    (fresh_cache / "measured.sqlite3").mkdir()
    assert scan(entries, Labels(), ScanOptions(cache=True)) == scan(entries, Labels())


def test_no_flipped_bit_of_the_store_is_believed(entries, fresh_cache):
    expected, _ = scan(entries, Labels(), ScanOptions(cache=True))
    store, random = fresh_cache / "measured.sqlite3", Random(0)
    content = store.read_bytes()
    for _ in range(150):
        place = random.randrange(8 * len(content))
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << (place % 8)
        store.write_bytes(damaged)
        with RecordCache("any"):  # opened, and begun again where it is no database
            assert scan(entries, Labels(), ScanOptions(cache=True))[0] == expected


@pytest.mark.parametrize(
    "edit",
    [
        lambda r: r.update(width=-1),
        lambda r: r.update(brightness=float("nan")),
        lambda r: r.update(phash="7"),
        lambda r: r.update(thumb="*"),
        lambda r: r.update(of="0" * 64),
        lambda r: r.pop("sharpness"),
        lambda r: r.clear(),
    ],
)
def test_a_record_out_of_range_is_measured_again_even_when_signed(one_record, fresh_cache, edit):
    with RecordCache("k") as store:
        store.add(one_record)
    base = sqlite3.connect(fresh_cache / "measured.sqlite3")
    (text,) = base.execute("SELECT record FROM measured").fetchone()
    values = json.loads(text)
    edit(values)
    for wrong in (json.dumps(signed(values)), "null", "[]", "5", "[" * 5000, 7, None):
        with base:
            base.execute("UPDATE measured SET record = ?", (wrong,))
        with RecordCache("k") as store:
            assert store.get([one_record.sha256]) == {}
    base.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**64 - 1),
    st.binary(max_size=768),
    st.floats(0, 255),
    st.none() | st.text(),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
def test_a_record_comes_back_as_it_was(one_record, phash, thumb, brightness, camera, taken):
    record = replace(one_record, phash=phash, thumb=thumb, brightness=brightness, camera=camera, taken_at=taken)
    with RecordCache("a way") as measured:
        measured.add(record)
        measured.flush()
        known = {name: getattr(record, name) for name in FIELDS}
        assert measured.get([record.sha256, "0" * 64]) == {record.sha256: known}


@pytest.fixture
def one_record(tmp_path):
    (tmp_path / "one.png").write_bytes(encoded(draw(1)))
    return read_one(Entry(str(tmp_path / "one.png"), "cat"))


def test_a_run_where_all_was_measured_but_no_feature_is_known(photos, fresh_cache, tmp_path):
    """The images are then decoded for the features, and the probe of engines has none to look at."""
    scan(list_data(photos).entries, Labels(), ScanOptions(cache=True, render_cache=RenderCache(Preprocess())))
    _, summary = train(photos, TrainConfig(strategy="frozen", test="subset"), out=str(tmp_path / "run"))
    assert summary["data"]["used"] == 120 and summary["test"]["accuracy"] > 0.9
