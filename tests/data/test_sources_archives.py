"""Zip and tar files as DATA: the same entries as the folder; hostile ones are refused and leave nothing behind."""

import io
import os
import shutil
import tarfile
import zipfile

import pytest

from foveal.data.sources.archives import unpack_archive
from foveal.data.sources.list_data import list_data
from foveal.errors import DataError
from pictures import make_folder


def seen(listing):
    return [(os.path.relpath(e.path, listing.root), e.label) for e in listing.entries]


@pytest.mark.parametrize("form", ["zip", "tar", "gztar", "xztar", "bztar"])
@pytest.mark.parametrize("inside", [".", "photos"])
def test_an_archive_is_the_folder_that_it_holds(fresh_cache, tmp_path, form, inside):
    folder = make_folder(tmp_path / "in" / "photos", {"cat": 2, "dog": 2})
    root = tmp_path / "in" if inside == "photos" else folder
    file = shutil.make_archive(str(tmp_path / "out" / "animals"), form, root)
    before = os.listdir(tmp_path / "out")
    listing = list_data(file)
    assert seen(listing) == seen(list_data(folder))
    assert seen(list_data(file)) == seen(listing)
    assert os.listdir(tmp_path / "out") == before
    assert all(e.path.startswith(str(fresh_cache)) for e in listing.entries)


def zipped(path, name, content=b"x", mode=0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = mode << 16
        archive.writestr(info, content)


def tarred(path, name, kind=tarfile.REGTYPE, target=""):
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        info.size = 1 if kind == tarfile.REGTYPE else 0
        archive.addfile(info, io.BytesIO(b"x"))


HOSTILE = {
    "up.zip": lambda p: zipped(p, "../../evil.jpg"),
    "root.zip": lambda p: zipped(p, "/tmp/evil.jpg"),
    "backslash.zip": lambda p: zipped(p, "..\\..\\evil.jpg"),
    "link.zip": lambda p: zipped(p, "cat/link.jpg", b"/etc/passwd", 0o120777),
    "bomb.zip": lambda p: zipped(p, "cat/bomb.jpg", bytes(100 << 20)),
    "up.tar": lambda p: tarred(p, "cat/../../evil.jpg"),
    "root.tar": lambda p: tarred(p, "/evil.jpg"),
    "link.tar": lambda p: tarred(p, "cat/link.jpg", tarfile.SYMTYPE, "/etc/passwd"),
    "hard.tar": lambda p: tarred(p, "cat/link.jpg", tarfile.LNKTYPE, "/etc/passwd"),
    "device.tar": lambda p: tarred(p, "cat/zero.jpg", tarfile.CHRTYPE),
    "broken.zip": lambda p: p.write_bytes(b"PK\x03\x04" + bytes(50)),
    "broken.tar.gz": lambda p: p.write_bytes(b"\x1f\x8b\x08" + bytes(50)),
    "empty.tar.xz": lambda p: p.write_bytes(b""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused_whole(fresh_cache, tmp_path, name):
    HOSTILE[name](tmp_path / name)
    with pytest.raises(DataError) as caught:
        list_data(tmp_path / name)
    assert name in str(caught.value) and caught.value.hint
    assert not [p for p in fresh_cache.rglob("*") if p.is_file() or p.is_symlink()]
    assert not list(tmp_path.rglob("evil.jpg"))


@pytest.mark.usefixtures("fresh_cache")
def test_too_many_files_are_refused(tmp_path):
    file = shutil.make_archive(str(tmp_path / "a"), "zip", make_folder(tmp_path / "in", {"cat": 3, "dog": 3}))
    with pytest.raises(DataError, match="more than 5 files"):
        unpack_archive(file, max_files=5)
