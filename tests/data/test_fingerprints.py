"""What a run keeps to recognise its training images, and images nearly the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from foveal.data.audit.duplicates import near_pairs
from foveal.data.split.fingerprints import (
    FILE_NAME,
    Fingerprint,
    fingerprints_to_bytes,
    read_fingerprints,
    with_fingerprints,
)
from foveal.errors import DataError
from foveal.values import Split, SplitRecord
from pictures import record

SUBSETS = ("train", "val", "test")
RECORDS = [record(i, phash=2**64 - 1 - i) for i in range(9)]
PLACED = tuple(SplitRecord(r, SUBSETS[i % 3], r.sha256[:12]) for i, r in enumerate(RECORDS))


@pytest.fixture
def run(tmp_path):
    tiny = SplitRecord(record("tiny", thumb=b"", phash=0), "train", "t")
    copy = SplitRecord(replace(RECORDS[0], path="/p/copy"), "train", "c")
    (tmp_path / FILE_NAME).write_bytes(fingerprints_to_bytes(Split((*PLACED, tiny, copy), (), ("a",))))
    return tmp_path


def test_what_a_model_learned_or_will_learn_from_is_kept_once(run):
    seen = [p.record for p in PLACED]
    assert {f.sha256: f for f in read_fingerprints(run)} == {
        r.sha256: Fingerprint(r.sha256, r.phash, r.thumb) for r in seen
    }
    assert len(read_fingerprints(run)) == len(seen)


def test_a_split_gets_its_fingerprints_back_and_writes_the_same_file(run):
    bare = [SplitRecord(record(i, phash=0, thumb=b""), p.subset, p.group) for i, p in enumerate(PLACED)]
    again = with_fingerprints(Split(tuple(bare), (), ("a",)), run)
    assert [p.record for p in again.placed] == [p.record for p in PLACED]
    assert fingerprints_to_bytes(again) == (run / FILE_NAME).read_bytes()


def test_near_duplicates_are_found_by_fingerprints(run):
    near = record("near", phash=RECORDS[0].phash ^ 5, thumb=RECORDS[0].thumb)
    known = read_fingerprints(run)
    pairs = near_pairs([*known, near, record("other")])
    assert [(known[a].sha256, b) for a, b in pairs] == [(RECORDS[0].sha256, len(known))]


def test_no_images_and_no_file(tmp_path):
    assert read_fingerprints(tmp_path) is None
    (tmp_path / FILE_NAME).write_bytes(fingerprints_to_bytes(Split((), (), ())))
    assert read_fingerprints(tmp_path) == []


def _cut(file):
    file.write_bytes(file.read_bytes()[:40])


def _without(name):
    def damage(file):
        tensors = load_file(file)
        del tensors[name]
        save_file(tensors, file)

    return damage


def _as_type(name, kind, shape=None):
    def damage(file):
        tensors = load_file(file)
        tensors[name] = np.zeros(shape or tensors[name].shape, dtype=kind)
        save_file(tensors, file)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _without("thumb"),
        _as_type("phash", np.float32),
        _as_type("thumb", np.uint8, (2, 5)),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_text("{}"),
    ],
)
def test_a_damaged_file_is_a_data_error(run, damage):
    damage(run / FILE_NAME)
    with pytest.raises(DataError) as caught:
        read_fingerprints(run)
    assert str(Path(run / FILE_NAME)) in str(caught.value) and caught.value.hint
