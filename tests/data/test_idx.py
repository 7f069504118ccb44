import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from digits import idx
from foveal.data.audit import audit
from foveal.data.audit.scan_idx import read_idx_records
from foveal.data.images.decode import decode, read_file
from foveal.data.images.idx import find_pairs, member, read_idx, read_pair
from foveal.data.sources.list_data import list_data
from foveal.errors import DataError, UnreadableImage
from foveal.values import Entry
from pictures import read_one


def digits(n, shape=(28, 28), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def write_set(folder, *, train=40, test=20, shape=(28, 28), zipped=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, n, seed in (("train", train, 1), ("t10k", test, 2)):
        for kind, array in (
            ("images-idx3", digits(n, shape, seed)),
            ("labels-idx1", (np.arange(n) % 4).astype(np.uint8)),
        ):
            content = idx(array)
            end, content = (".gz", gzip.compress(content)) if zipped else ("", content)
            (folder / f"{name}-{kind}-ubyte{end}").write_bytes(content)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_four_files_are_two_given_subsets(tmp_path, zipped):
    listing = list_data(write_set(tmp_path, zipped=zipped))
    assert len(listing.entries) == 60
    assert {(e.split, e.label) for e in listing.entries} == {
        (s, str(c)) for s in ("train", "test") for c in range(4)
    }
    assert sum(e.split == "test" for e in listing.entries) == 20


def test_one_file_alone_gives_no_split(tmp_path):
    folder = write_set(tmp_path)
    listing = list_data(folder / "train-images-idx3-ubyte")
    assert {e.split for e in listing.entries} == {None}
    assert len(listing.entries) == 40


def test_a_image_by_number_is_what_the_file_holds(tmp_path):
    folder = write_set(tmp_path, zipped=True)
    path = str(folder / "train-images-idx3-ubyte.gz")
    pixels = np.asarray(decode(read_file(f"{path}#7"), path))
    assert (pixels == digits(40, seed=1)[7][:, :, None]).all()
    for wrong in (f"{path}#40", f"{path}#x", f"{path}#", f"{tmp_path}/none-idx3#1"):
        with pytest.raises(UnreadableImage) as caught:
            read_file(wrong)
        assert caught.value.code == "missing"


def test_colour_sets_too(tmp_path):
    write_set(tmp_path, shape=(32, 32, 3))
    for file in tmp_path.glob("*idx3*"):
        file.rename(tmp_path / file.name.replace("idx3", "idx4"))
    (pair, _) = find_pairs(str(tmp_path))
    images, _ = read_pair(pair)
    pixels = np.asarray(decode(read_file(f"{pair.images}#3"), "x"))
    assert (pixels == images[3]).all()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))))
def test_any_array_comes_back(tmp_path, array):
    path = tmp_path / f"a{np.random.default_rng().integers(1 << 40)}-idx3"
    path.write_bytes(idx(array))
    assert (read_idx(str(path)) == array).all()
    assert member(f"{path}#{len(array)}") is None


@pytest.mark.parametrize("shape", [(28, 28), (31, 8), (2, 2)])
def test_measured_as_one_array_or_one_by_one(tmp_path, shape):
    folder = write_set(tmp_path, shape=shape)
    entries = [Entry(f"{folder}/t10k-images-idx3-ubyte#{i}", "a", "test") for i in (3, 0, 19)]
    for quick, slow in zip(read_idx_records(entries), map(read_one, entries), strict=True):
        for name in quick.__slots__:
            expected = getattr(slow, name)
            close = pytest.approx(expected, rel=1e-3, abs=1e-3) if isinstance(expected, float) else expected
            assert getattr(quick, name) == close, name


def test_look_alikes_of_small_images_are_no_duplicates_but_copies_are(tmp_path):
    folder = write_set(tmp_path)
    images = digits(40, seed=1).copy()
    images[5] = images[9]
    images[6] = np.clip(images[10].astype(int) + 1, 0, 255)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    found = audit(folder)
    codes = {f.code: f.count for f in found.findings}
    assert codes["duplicates"] == 1 or codes.get("conflicting_labels") == 1
    assert "near_duplicates" not in codes


def broken(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("train-images-idx3-ubyte", lambda c: c[:-1], "40 × 28 × 28"),
        ("train-images-idx3-ubyte", lambda c: c + b"x", "40 × 28 × 28"),
        ("train-images-idx3-ubyte", lambda c: c[:9], ""),
        ("train-images-idx3-ubyte", lambda c: b"", ""),
        ("train-images-idx3-ubyte", lambda c: b"\x89PNG" + c, "89 50 4e 47"),
        ("train-images-idx3-ubyte", lambda c: b"\0\0\x0d" + c[3:], "00 00 0d"),
        ("train-images-idx3-ubyte", lambda c: idx(np.zeros(40, dtype=np.uint8)), ""),
        ("train-labels-idx1-ubyte", lambda c: idx(digits(40)), "3"),
        ("train-labels-idx1-ubyte", lambda c: idx(np.zeros(39, dtype=np.uint8)), "40 .* 39"),
        ("train-labels-idx1-ubyte", lambda c: b"\x1f\x8b" + c, ""),
    ],
)
def test_damaged_files_are_named(tmp_path, name, change, found):
    """And what was found in them, where it is a figure or bytes."""
    folder = write_set(tmp_path)
    broken(folder, name, change)
    with pytest.raises(DataError, match=found or None) as refusal:
        list_data(folder)
    assert name in str(refusal.value)
    assert refusal.value.hint


def test_a_cut_gzip_is_named(tmp_path):
    folder = write_set(tmp_path, zipped=True)
    broken(folder, "t10k-images-idx3-ubyte.gz", lambda c: c[: len(c) // 2])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz"):
        list_data(folder)


def test_images_without_labels(tmp_path):
    folder = write_set(tmp_path)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte"):
        list_data(folder)
