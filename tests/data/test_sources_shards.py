"""Tar shards and Parquet with images in it: listed, read, trained on and predicted where they are."""

import io
import json
import os
import secrets
import struct
import tarfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foveal.data.audit import audit
from foveal.data.dataset import audit as audit_of
from foveal.data.images import tar_shards
from foveal.data.images.decode import read_file
from foveal.data.images.shards import file_of, images_in, reading_order
from foveal.data.images.storage import named_files
from foveal.data.sources.list_data import list_data
from foveal.errors import DataError, UnreadableImage, UsageError
from foveal.inference.inputs import find_images
from pictures import draw, encoded

NAME = st.text("abz. -é=日'", min_size=1, max_size=12).filter(lambda n: n.strip(". ") != "")


def add(archive, name, content, **header):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in header.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(content))


def write_shard(path, members, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in members:
            add(archive, name, content)
    return path


def photos(n, seed=0, classes=2):
    """WebDataset samples: an image, and its class as a number."""
    for i in range(n):
        yield f"{i:04d}.jpg", encoded(draw(seed * 1000 + i, tint=i % classes), "JPEG")
        yield f"{i:04d}.cls", str(i % classes).encode()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samples=st.dictionaries(NAME, st.binary(max_size=1500), max_size=12),
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    folder=st.sampled_from(["", "cat/", "./", "x" * 90 + "/" + "y" * 60 + "/"]),
)
def test_every_member_is_read_as_it_was_written(tmp_path, samples, form, folder):
    shard = f"{tmp_path}/{secrets.token_hex(4)}.tar"
    written = {f"{folder}{name}.jpg": content for name, content in samples.items()}
    try:
        write_shard(shard, written.items(), form)
    except ValueError:  # the oldest form can't hold long names
        return
    read = {m.name: tar_shards.read_member(shard, m.name) for m in tar_shards.members_of(shard)}
    assert read == written
    assert tar_shards.read_member(shard, "none.jpg") is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.one_of(st.none(), st.binary(max_size=60)), max_size=30), group=st.integers(1, 7))
def test_every_row_is_read_as_it_was_written(tmp_path, cells, group):
    file = tmp_path / f"{secrets.token_hex(4)}.parquet"
    pq.write_table(pa.table({"image": pa.array(cells, pa.binary())}), file, row_group_size=group)
    paths = list(images_in(str(file)))
    assert len(paths) == len(cells)
    for path, cell in zip(paths, cells, strict=True):
        assert file_of(path) == str(file)
        if cell:
            assert read_file(path) == cell
        else:
            with pytest.raises(UnreadableImage) as caught:
                read_file(path)
            assert caught.value.code == "empty_file"
    order = sorted(range(len(cells)), key=lambda i: reading_order(paths[i]))
    groups = [i // group for i in order]
    changes = sum(a != b for a, b in pairwise(groups))
    assert changes == max(0, len(set(groups)) - 1)  # each row group is read once


def test_labels_come_from_the_sample_or_else_from_the_folder(tmp_path):
    image = encoded(draw(1))
    write_shard(
        tmp_path / "train-0.tar",
        [
            ("1.png", image), ("1.cls", b"1\n"),
            ("2.json", json.dumps({"label": 0, "class_name": "bee"}).encode()), ("2.png", image), ("2.seg.png", image),
            ("d/3.txt", "été".encode()), ("d/3.png", image),
            ("cat/4.png", image), ("5.png", image), ("cat/notes.npy", b"x"), ("cat/.6.png", image),
        ],
    )  # fmt: skip
    write_shard(tmp_path / "val-0.tar", [("1.png", image), ("1.cls", b"0")])
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    listing = list_data(tmp_path)
    found = {os.path.relpath(e.path, listing.root): (e.label, e.split) for e in listing.entries}
    assert found == {
        "train-0.tar/1.png": ("bee", "train"),
        "train-0.tar/2.png": ("bee", "train"),
        "train-0.tar/d/3.png": ("été", "train"),
        "train-0.tar/cat/4.png": ("cat", "train"),
        "val-0.tar/1.png": ("ant", "val"),
    }
    assert {(os.path.basename(x.path), x.reason) for x in listing.excluded} == {
        ("2.seg.png", "not_a_picture"),
        ("5.png", "no_label"),
        ("notes.npy", "not_a_picture"),
        (".6.png", "not_a_picture"),
    }
    write_shard(tmp_path / "val-0.tar", [("1.png", image), ("1.cls", b"7")])
    with pytest.raises(DataError, match=r"val-0\.tar/1\.cls"):
        list_data(tmp_path)


def test_a_lone_tar_file_without_labels_is_a_packed_folder(tmp_path):
    image = encoded(draw(1))
    packed = write_shard(tmp_path / "p.tar", [("cat/1.png", image), ("dog/1.png", image)])
    assert not list_data(packed).root.startswith(str(tmp_path))
    shards = write_shard(tmp_path / "s.tar", [("1.png", image), ("1.cls", b"cat")])
    assert [e.path for e in list_data(shards).entries] == [f"{shards}/1.png"]
    braces = [f"{tmp_path}/p.tar/cat/1.png", f"{tmp_path}/p.tar/dog/1.png"]
    write_shard(tmp_path / "q-08.tar", [("1.png", image)])
    write_shard(tmp_path / "q-09.tar", [("1.png", image)])
    assert list(find_images([f"{tmp_path}/p.tar"])) == braces
    assert list(find_images([f"{tmp_path}/q-{{08..09}}.tar"])) == [
        f"{tmp_path}/q-{n}.tar/1.png" for n in ("08", "09")
    ]
    with pytest.raises(DataError, match=r"q-10\.tar"):
        list_data(f"{tmp_path}/q-{{08..10}}.tar")
    assert named_files("s3://b/x-{8..11}.tar") == [f"s3://b/x-{n}.tar" for n in (8, 9, 10, 11)]


def hostile(path):
    """A shard with everything that a tar file may try, and one good image at its end."""
    image = encoded(draw(1))
    with tarfile.open(path, "w") as archive:
        for name in ("/etc/a.png", "../b.png", "c/../../d.png", "..\\e.png", "C:/f.png"):
            add(archive, name, image)
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)):
            add(archive, f"cat/link{number}.png", b"", type=kind, linkname="/etc/passwd")
        add(archive, "cat/sparse.png", b"", pax_headers={"GNU.sparse.map": "0,0", "GNU.sparse.size": "1000000000"})
        add(archive, "cat/twice.png", image)
        add(archive, "cat/twice.png", image[:-1])
        add(archive, "cat/good.png", image)
    return path


def test_a_hostile_tar_file_costs_its_bad_members_only(tmp_path):
    hostile(tmp_path / "a.tar")
    write_shard(tmp_path / "b.tar", [("dog/1.png", encoded(draw(2)))])
    listing = list_data(tmp_path)
    assert [os.path.relpath(e.path, tmp_path) for e in listing.entries] == [
        "a.tar/cat/twice.png",
        "a.tar/cat/good.png",
        "b.tar/dog/1.png",
    ]
    reasons = [x.reason for x in listing.excluded]
    assert reasons == ["unsafe_name"] * 5 + ["not_a_file"] * 5 + ["repeated_name"]
    for excluded in listing.excluded[:10]:
        with pytest.raises(UnreadableImage) as caught:
            read_file(excluded.path)
        assert caught.value.code == excluded.reason


def header(name, size, kind=b"0"):
    """A header with any size, also such as `tarfile` would not write."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = (
        b"\x80\0\0\0" + struct.pack(">q", size) if size >= 0 else b"\xff" * 4 + struct.pack(">q", size)
    )
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_sizes_that_can_not_be_read_nothing_but_their_own_place(tmp_path):
    good = Path(write_shard(tmp_path / "good", [("cat/1.png", encoded(draw(1)))])).read_bytes().rstrip(b"\0")
    good += b"\0" * (-len(good) % 512)
    for name, block, reason in (
        ("huge.tar", header("cat/2.png", 1 << 62), "truncated"),
        ("negative.tar", header("cat/2.png", -1024), "broken"),
        ("random.tar", b"\x07" * 512, "broken"),
        ("cut.tar", header("cat/2.png", 5000) + b"x" * 100, "truncated"),
    ):
        shard = tmp_path / name
        shard.write_bytes(good + block)
        first, last = tar_shards.members_of(str(shard))
        assert first.problem is None and last.problem is not None
        assert last.problem[0] == reason
        listing = list_data(f"{tmp_path}/{name[:-5]}*.tar")
        assert [os.path.basename(e.path) for e in listing.entries] == ["1.png"]
        assert [(x.path, x.reason) for x in listing.excluded] == [(f"{shard}/{last.name}", reason)]
    long_name = tmp_path / "long.tar"
    long_name.write_bytes(header("././@LongLink", 1 << 40, b"L") + b"a" * 4096)
    with pytest.raises(DataError, match=r"long\.tar"):
        list(tar_shards.members_of(str(long_name)))
    for content in (b"", b"no tar at all" * 100, b"\x1f\x8b" * 600):
        (tmp_path / "none.tar").write_bytes(content)
        with pytest.raises(DataError, match=r"none\.tar"):
            list(tar_shards.members_of(str(tmp_path / "none.tar")))


def test_what_is_kept_of_many_names_is_small():
    count = 200_000
    members = ((b"class-%03d/%08d.jpg" % (i % 500, i), 512 * i, 100, 0) for i in range(count))
    index = tar_shards.TarIndex(members)
    kept = sum(getattr(index, a).nbytes for a in ("_ends", "_places", "_order", "_sorted")) + len(index._names)
    assert kept < 90 * count
    found = index.find("class-007/00000507.jpg")
    assert found.offset == 512 * 507


def test_shards_and_the_same_files_give_the_same_split(tmp_path):
    members = list(photos(12))
    write_shard(tmp_path / "s.tar", members)
    for name, content in members:
        if name.endswith(".jpg"):
            file = tmp_path / "files" / str(int(name[:4]) % 2) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    rows = [{"image": {"bytes": c, "path": n}, "label": int(n[:4]) % 2} for n, c in members if n.endswith(".jpg")]
    features = {"label": {"names": ["0", "1"], "_type": "ClassLabel"}}
    schema = pa.Table.from_pylist(rows).schema.with_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "p.parquet", row_group_size=5)
    splits = [
        {p.record.sha256: (p.subset, p.record.label) for p in audit_of(tmp_path / source).split.placed}
        for source in ("files", "s.tar", "p.parquet")
    ]
    assert len(splits[0]) == 12
    assert splits[0] == splits[1] == splits[2]


def test_parquet_without_a_clear_label_is_refused(tmp_path):
    image = pa.array([encoded(draw(1))], pa.binary())
    pq.write_table(pa.table({"image": image, "class": ["a"], "target": ["b"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="'class' or 'target'"):
        list_data(tmp_path / "a.parquet")
    pq.write_table(pa.table({"image": image}), tmp_path / "b.parquet")
    with pytest.raises(DataError):
        list_data(tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match=r"c\.parquet"):
        list_data(tmp_path / "c.parquet")


def test_an_object_store_is_read_through_its_file_system(tmp_path):
    memory = pytest.importorskip("fsspec").filesystem("memory")
    local = write_shard(tmp_path / "x.tar", photos(4))
    memory.pipe("/bucket/x-0.tar", local.read_bytes())
    memory.pipe("/bucket/classes.txt", b"ant\nbee")
    pq.write_table(pa.table({"image": pa.array([b"1", b"22"], pa.binary()), "label": ["a", "b"]}), tmp_path / "y")
    memory.pipe("/bucket/y.parquet", (tmp_path / "y").read_bytes())
    listing = list_data("memory://bucket/x-*.tar")
    assert [e.path for e in listing.entries] == [f"memory://bucket/x-0.tar/{i:04d}.jpg" for i in range(4)]
    assert [e.label for e in listing.entries] == ["ant", "bee"] * 2
    expected = dict(photos(4))
    assert read_file(listing.entries[2].path) == expected["0002.jpg"]
    assert [e.label for e in list_data("memory://bucket/y.parquet").entries] == ["a", "b"]
    assert [read_file(p) for p in find_images(["memory://bucket/y.parquet"])] == [b"1", b"22"]
    assert [r.path for r in audit("memory://bucket/x-{0..0}.tar").records] == [e.path for e in listing.entries]
    for missing in ("memory://bucket/none.tar", "nowhere://bucket/x.tar"):
        with pytest.raises(DataError):
            list_data(missing)
    for refused in ("s3://bucket/photos/", "https://example.org/x.tar"):
        with pytest.raises(DataError):
            list_data(refused)
        with pytest.raises(UsageError):
            find_images([refused])


def test_numbers_of_a_shard_are_stable_under_any_reading_order(tmp_path):
    shard = str(write_shard(tmp_path / "a.tar", photos(6)))
    paths = list(images_in(shard))
    order = np.random.default_rng(0).permutation(len(paths))
    contents = dict(photos(6))
    for i in order:
        assert read_file(paths[i]) == contents[os.path.basename(paths[i])]
