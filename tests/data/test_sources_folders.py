"""Folders as DATA: class folders, given splits, and the mess that real disks hold."""

import os
from pathlib import Path

import pytest

from foveal.config import TrainConfig
from foveal.data.audit import audit
from foveal.data.sources.list_data import list_data
from foveal.data.sources.listing import DataOptions
from foveal.errors import DataError, UnknownName, UsageError
from pictures import make_folder
from unprivileged import not_as_root


def touch(root, *names):
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def seen(listing):
    """(relative path, label, split) of every entry."""
    return [(os.path.relpath(e.path, listing.root), e.label, e.split) for e in listing.entries]


def skipped(listing):
    return {os.path.relpath(i.path, listing.root): i.reason for i in listing.excluded}


def test_class_folders(tmp_path):
    touch(tmp_path, "dog/b.jpg", "cat/2.png", "cat/deep/er/1.png")
    listing = list_data(tmp_path)
    assert seen(listing) == [
        ("cat/2.png", "cat", None),
        ("cat/deep/er/1.png", "cat", None),
        ("dog/b.jpg", "dog", None),
    ]
    assert all(os.path.isabs(e.path) for e in listing.entries)
    assert (listing.excluded, listing.empty_classes) == ([], [])


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Valid", "DEV", "val_set", "Validation Images"])
def test_split_folders(tmp_path, val):
    touch(tmp_path, "train/cat/1.jpg", f"{val}/cat/2.jpg", "test/dog/3.jpg")
    assert {(label, split) for _, label, split in seen(list_data(tmp_path))} == {
        ("cat", "train"),
        ("cat", "val"),
        ("dog", "test"),
    }


def test_train_alone_is_a_class_and_so_is_test(tmp_path):
    touch(tmp_path, "train/1.jpg", "plane/2.jpg")
    assert seen(list_data(tmp_path)) == [("plane/2.jpg", "plane", None), ("train/1.jpg", "train", None)]


@pytest.mark.parametrize(("train", "test"), [("Training", "Testing"), ("TRAIN", "Test"), ("train_data", "eval")])
def test_split_folders_in_other_spellings(tmp_path, train, test):
    touch(tmp_path, f"{train}/cat/1.jpg", f"{train}/dog/2.jpg", f"{test}/dog/3.jpg")
    listed = [(label, split) for _, label, split in seen(list_data(tmp_path))]
    assert sorted(listed) == [("cat", "train"), ("dog", "test"), ("dog", "train")]


@pytest.mark.parametrize("name", ["train", "Training", "test"])
def test_one_split_folder_alone_is_divided_by_foveal(tmp_path, name):
    touch(tmp_path, f"{name}/cat/1.jpg", f"{name}/dog/2.jpg")
    assert [(label, split) for _, label, split in seen(list_data(tmp_path))] == [("cat", None), ("dog", None)]


@pytest.mark.parametrize("stray", ["test/1.jpg", "Testing/cat/1.jpg", "val/dog/1.jpg"])
def test_a_stray_split_folder_beside_classes_is_named(tmp_path, stray):
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg", stray)
    listing = list_data(tmp_path)
    assert [label for _, label, _ in seen(listing)] == ["cat", "dog"]
    assert skipped(listing) == {stray.split("/")[0]: "no_split"}


def test_a_class_may_be_called_test(tmp_path):
    touch(tmp_path, "control/1.jpg", "test/2.jpg")
    assert [label for _, label, _ in seen(list_data(tmp_path))] == ["control", "test"]


def test_a_data_set_one_folder_down(tmp_path):
    touch(tmp_path, "archive/cat/1.jpg", "archive/dog/2.jpg", "__MACOSX/x/._1.jpg", "README.txt")
    assert [label for _, label, _ in seen(list_data(tmp_path))] == ["cat", "dog"]
    touch(tmp_path / "deeper", "photos/Train/cat/1.jpg", "photos/Test/dog/2.jpg")
    assert {split for _, _, split in seen(list_data(tmp_path / "deeper"))} == {"train", "test"}


def test_labels_from_file_names(tmp_path):
    touch(tmp_path, "cat.001.jpg", "sub/dog.7.jpg", "other.jpg", "notes.txt")
    listing = list_data(tmp_path, DataOptions(label_from=r"([^/]+)\.\d+\.jpg$"))
    assert seen(listing) == [("cat.001.jpg", "cat", None), ("sub/dog.7.jpg", "dog", None)]
    assert skipped(listing) == {"other.jpg": "no_label", "notes.txt": "not_a_picture"}


@pytest.mark.parametrize("pattern", ["(", "cat", "(a)(b)"])
def test_a_pattern_for_labels_needs_one_group(tmp_path, pattern):
    with pytest.raises(UsageError) as caught:
        TrainConfig(label_from=pattern)
    assert caught.value.hint


def test_what_lies_beside_split_folders_is_named(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "test/cat/2.jpg", "extra/cat/3.jpg", "train/loose.jpg")
    listing = list_data(tmp_path)
    assert len(listing.entries) == 2
    assert skipped(listing) == {"extra": "no_split", "train/loose.jpg": "no_label"}


def test_images_outside_class_folders(tmp_path):
    touch(tmp_path, "a.jpg", "cat/1.jpg")
    listing = list_data(tmp_path)
    assert skipped(listing) == {"a.jpg": "no_label"}
    assert len(listing.entries) == 1


def test_hidden_things_and_clutter_are_passed_over_and_named(tmp_path):
    touch(tmp_path, ".git/1.jpg", "cat/.thumbs/1.jpg", "cat/.DS_Store", "cat/Thumbs.db", "cat/1.jpg")
    touch(tmp_path, "__MACOSX/cat/1.jpg", "cat/notes.TXT", "labels.csv")
    listing = list_data(tmp_path)
    assert seen(listing) == [("cat/1.jpg", "cat", None)]
    assert skipped(listing) == {
        ".git": "hidden",
        "__MACOSX": "hidden",
        "cat/.thumbs": "hidden",
        "cat/.DS_Store": "hidden",
        "cat/Thumbs.db": "not_a_picture",
        "cat/notes.TXT": "not_a_picture",
        "labels.csv": "not_a_picture",
    }


def test_empty_classes_are_named(tmp_path):
    touch(tmp_path, "cat/1.jpg")
    (tmp_path / "dog").mkdir()
    (tmp_path / "cow" / "inner").mkdir(parents=True)
    assert list_data(tmp_path).empty_classes == ["cow", "dog"]


def test_links_in_a_circle_end(tmp_path):
    touch(tmp_path, "cat/1.jpg", "cat/sub/2.jpg")
    (tmp_path / "cat" / "sub" / "up").symlink_to(tmp_path / "cat")
    (tmp_path / "cat" / "self").symlink_to("self")
    listing = list_data(tmp_path)
    assert [p for p, _, _ in seen(listing)] == ["cat/1.jpg", "cat/sub/2.jpg"]
    assert skipped(listing) == {"cat/sub/up": "symlink_loop", "cat/self": "missing"}


def test_a_link_to_the_root_does_not_bring_other_classes_in(tmp_path):
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (tmp_path / "cat" / "top").symlink_to(tmp_path)
    listing = list_data(tmp_path)
    assert seen(listing) == [("cat/1.jpg", "cat", None), ("dog/2.jpg", "dog", None)]
    assert skipped(listing) == {"cat/top": "symlink_loop"}


def test_links_to_images_and_folders_elsewhere_are_followed(tmp_path):
    touch(tmp_path, "store/1.jpg", "store/2.jpg", "data/dog/3.jpg")
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "store")
    (tmp_path / "data" / "dog" / "4.jpg").symlink_to(tmp_path / "store" / "1.jpg")
    listing = list_data(tmp_path / "data")
    assert [p for p, _, _ in seen(listing)] == ["cat/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/4.jpg"]


def test_broken_links_are_named(tmp_path):
    touch(tmp_path, "cat/1.jpg")
    (tmp_path / "cat" / "2.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "dog").symlink_to("no-folder")
    assert skipped(list_data(tmp_path)) == {"cat/2.jpg": "missing", "dog": "missing"}


def test_unreadable_folders_are_named(open_folder):
    touch(open_folder, "cat/1.jpg", "dog/2.jpg")
    (open_folder / "dog").chmod(0)
    with not_as_root():
        assert skipped(list_data(open_folder)) == {"dog": "unreadable_folder"}
    (open_folder / "dog").chmod(0o700)


def test_a_folder_that_can_not_be_listed_is_named(tmp_path, monkeypatch):
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    scandir = os.scandir

    def locked(folder):
        if os.path.basename(folder) == "dog":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr("foveal.data.sources.listing.os.scandir", locked)
    listing = list_data(tmp_path)
    assert skipped(listing) == {"dog": "unreadable_folder"}
    assert listing.empty_classes == []


def test_names_that_are_not_utf8(tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(folder)
    with open(os.path.join(folder, b"\xff\xfe.jpg"), "wb") as handle:
        handle.write(b"x")
    touch(tmp_path, "tea\nor\rtwo/,\"'.jpg", "x" * 200 + "/" + "y" * 240 + ".jpg")
    listing = list_data(tmp_path)
    assert {os.fsencode(e.label) for e in listing.entries} == {b"caf\xe9", b"tea\nor\rtwo", b"x" * 200}
    assert all(os.path.isfile(e.path) for e in listing.entries)


def test_the_order_is_by_path(tmp_path):
    touch(tmp_path, *[f"{c}/{n}.jpg" for c in "bca" for n in (3, 1, 2)])
    expected = seen(list_data(tmp_path))
    assert [p for p, _, _ in expected] == sorted(p for p, _, _ in expected)


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"/(\d+)_", ["7", "7", "12"]),
        (r"^[^/]+/\d+", ["cat/7", "cat/7", "dog/12"]),
        (r"(cat|dog)/(\d)", ["cat/7", "cat/7", "dog/1"]),
        (r"(x)?_b", [None, "", ""]),
    ],
)
def test_group_by_names_groups_by_path(tmp_path, pattern, groups):
    touch(tmp_path, "cat/7_a.jpg", "cat/7_b.jpg", "dog/12_b.jpg")
    assert [e.group for e in list_data(tmp_path, group_by=pattern).entries] == groups


@pytest.mark.parametrize("made", [[], ["loose.jpg"], ["cat/notes.txt"], ["cat/.hidden.jpg"]])
def test_nothing_to_read_is_a_data_error(tmp_path, made):
    touch(tmp_path, *made)
    with pytest.raises(DataError) as caught:
        list_data(tmp_path)
    assert caught.value.hint
    assert str(tmp_path) in str(caught.value)


def test_data_that_does_not_exist(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        list_data(tmp_path / "nowhere")


def test_an_unknown_sample_suggests_the_nearest():
    with pytest.raises(UnknownName) as caught:
        list_data("sample:clipert")
    assert "clipart" in caught.value.hint


def test_the_sample_that_ships():
    listing = list_data("sample:clipart")
    sizes = {}
    for entry in listing.entries:
        sizes[entry.label] = sizes.get(entry.label, 0) + 1
    assert len(sizes) >= 6
    assert min(sizes.values()) >= 100
    assert listing.name == "clipart"


def test_originals_are_not_touched(tmp_path):
    make_folder(tmp_path, {"cat": 3, "dog": 3})
    touch(tmp_path, "dog/broken.jpg")
    before = {p: (p.read_bytes() if p.is_file() else None, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")}
    audit(tmp_path)
    assert {
        p: (p.read_bytes() if p.is_file() else None, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")
    } == before


def test_images_without_class_folders_are_answered_with_label_from(draw, tmp_path):
    draw(1).save(tmp_path / "cat_1.png")
    with pytest.raises(DataError, match="1 file was skipped") as caught:
        list_data(tmp_path)
    assert "--label-from" in caught.value.hint
