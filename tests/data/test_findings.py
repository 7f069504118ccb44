"""Each finding's code, on data that has just that fault."""

import json
from dataclasses import asdict

import pytest
from PIL import Image, ImageFilter

from foveal.data.audit import audit
from foveal.data.audit.findings import find_all, find_excluded
from foveal.data.sources.listing import Listing
from foveal.data.targets.labels import Labels
from foveal.values import Entry, Excluded
from pictures import draw, encoded, make_folder, record

GOOD = [record(f"{c}{i}", c) for c in "ab" for i in range(20)]


def found(records=(), left_out=(), pairs=(), *, declared=(), beside=GOOD):
    """Findings by code, of these records at the head of a good set."""
    records = [*records, *beside]
    result = find_all(Labels(), declared, records, left_out, list(pairs))
    assert len({f.code for f in result}) == len(result)
    for finding in result:
        assert finding.severity in ("error", "warning", "note")
        assert finding.message
        assert finding.hint
        assert finding.count > 0
    return {f.code: f for f in result}


def test_nothing_is_wrong_with_good_images():
    assert found() == {}


def test_what_could_not_be_read_is_grouped_by_reason():
    left = [Excluded(f"/x/{i}", "truncated", "ends early") for i in range(3)] + [
        Excluded("/x/h", "hidden", "file")
    ]
    codes = found(left_out=left)
    assert set(codes) == {"truncated", "hidden"}
    assert (codes["truncated"].severity, codes["truncated"].count) == ("warning", 3)
    assert codes["truncated"].paths == (("/x/0",), ("/x/1",), ("/x/2",))
    assert codes["hidden"].severity == "note"


def test_the_same_image_under_two_labels():
    codes = found([record(1, "a"), record(1, "b")])
    assert codes["conflicting_labels"].severity == "error"
    assert codes["conflicting_labels"].paths == (("/p/a/1.jpg", "/p/b/1.jpg"),)
    assert codes["duplicates"].count == 1


def test_copies_under_one_label():
    codes = found([record(1, "a"), record(1, "a"), record(1, "a")])
    assert set(codes) == {"duplicates"}
    assert len(codes["duplicates"].paths[0]) == 3


def test_near_duplicates_and_their_labels():
    assert set(found([record(1, "a"), record(2, "a")], pairs=[(0, 1)])) == {"near_duplicates"}
    codes = found([record(1, "a"), record(2, "b"), record(3, "a")], pairs=[(0, 1), (1, 2)])
    assert set(codes) == {"near_duplicates", "conflicting_near_duplicates"}
    assert codes["conflicting_near_duplicates"].severity == "warning"
    assert codes["near_duplicates"].count == 1
    assert len(codes["near_duplicates"].paths[0]) == 3


@pytest.mark.parametrize("second", [1, 2], ids=["a copy", "a near copy"])
def test_leaks_between_given_splits(second):
    one, two = record(1, split="train"), record(second, split="test")
    codes = found([one, two], pairs=[(0, 1)] if second == 2 else [])
    assert codes["leak_between_splits"].severity == "error"
    assert codes["leak_between_splits"].count == 1
    same = record(second, split="train")
    assert "leak_between_splits" not in found([one, same], pairs=[(0, 1)] if second == 2 else [])


def test_classes_without_a_readable_image():
    listing = Listing("x", "/x", Labels(), entries=[Entry("/x/c/1.jpg", "c")], empty_classes=["d"])
    codes = found(declared=listing.declared_classes)
    assert codes["empty_classes"].count == 2
    assert "c, d" in codes["empty_classes"].message


def test_few_images_and_imbalance():
    nineteen = [record(f"c{i}", "c") for i in range(19)]
    assert "c (19)" in found(nineteen)["few_pictures"].message
    assert found([*nineteen, record("c19", "c")]) == {}
    hundred = [record(f"c{i}", "c") for i in range(100)]
    assert found(hundred) == {}
    imbalance = found([*hundred, record("c100", "c")])["imbalance"]
    assert "101" in imbalance.message
    assert "20" in imbalance.message


@pytest.mark.parametrize(
    ("code", "faulty", "just_good"),
    [
        ("blank", {"contrast": 2.9, "sharpness": 0.0}, {"contrast": 3.0}),
        ("dark", {"brightness": 24.0}, {"brightness": 25.0}),
        ("tiny", {"width": 31}, {"width": 32, "height": 32}),
        ("blurred", {"sharpness": 14.0}, {"sharpness": 15.0}),
    ],
)
def test_how_images_look(code, faulty, just_good):
    codes = found([record(1, **faulty), record(2, **just_good)])
    assert set(codes) == {code}
    assert codes[code].paths == (("/p/a/1.jpg",),)


def test_a_blank_image_is_not_called_blurred_or_dark_too():
    assert set(found([record(1, contrast=0.0, brightness=0.0, sharpness=0.0)])) == {"blank"}


def test_the_worst_comes_first():
    records = [record(1, "a"), record(1, "b"), record(2, width=4), record(3), record(3)]
    order = [f.severity for f in find_all(Labels(), [], [*records, *GOOD], [], [])]
    assert order == sorted(order, key=["error", "warning", "note"].index)
    assert set(order) == {"error", "warning", "note"}


def test_at_most_two_hundred_groups_are_listed():
    codes = found(left_out=[Excluded(str(i), "broken", "so") for i in range(500)])
    assert (codes["broken"].count, len(codes["broken"].paths)) == (500, 200)


def test_no_images_at_all():
    assert set(found(left_out=[Excluded("/x", "broken", "so")], beside=[])) == {"broken"}


def night():
    """Dark, with sharp lights."""
    picture = Image.eval(draw(2, (160, 120)), lambda v: v // 10)
    for x in range(5, 160, 25):
        picture.paste("white", (x, 40 + x // 4, x + 2, 42 + x // 4))
    return picture


def test_audit_of_real_files(tmp_path):
    make_folder(tmp_path, {"cat": 21, "dog": 20}, size=(96, 80))
    picture = draw(1, (160, 120))
    extras = {
        "cat/copy.jpg": (tmp_path / "cat" / "000.jpg").read_bytes(),
        "dog/torn.jpg": (tmp_path / "cat" / "001.jpg").read_bytes(),
        "dog/half.png": encoded(picture)[:900],
        "dog/words.jpg": b"words",
        "dog/p.png": encoded(picture),
        "dog/p.jpg": encoded(picture.resize((120, 90)), "JPEG"),
        "dog/blank.png": encoded(Image.new("RGB", (80, 80), "red")),
        "dog/night.png": encoded(night()),
        "dog/tiny.png": encoded(draw(3, (20, 20))),
        "cat/fog.png": encoded(draw(4, (160, 120)).filter(ImageFilter.GaussianBlur(12))),
        "cat/.hidden": b"x",
    }
    for name, content in extras.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "cow").mkdir()
    result = audit(tmp_path)
    paths = {f.code: {p.removeprefix(f"{tmp_path}/") for group in f.paths for p in group} for f in result.findings}
    assert paths == {
        "conflicting_labels": {"cat/001.jpg", "dog/torn.jpg"},
        "duplicates": {"cat/000.jpg", "cat/copy.jpg", "cat/001.jpg", "dog/torn.jpg"},
        "near_duplicates": {"dog/p.png", "dog/p.jpg"},
        "truncated": {"dog/half.png"},
        "not_a_picture": {"dog/words.jpg"},
        "blank": {"dog/blank.png"},
        "dark": {"dog/night.png"},
        "tiny": {"dog/tiny.png"},
        "blurred": {"cat/fog.png"},
        "hidden": {"cat/.hidden"},
        "empty_classes": set(),
    }
    assert not result.clean
    assert len(result.records) + len(result.excluded) == 41 + len(extras)
    written = json.loads(json.dumps(result.to_dict()))
    assert written["classes"] == result.classes() == {"cat": 23, "dog": 26}
    assert written["findings"] == json.loads(json.dumps([asdict(f) for f in result.findings]))


def test_a_clean_audit_has_notes_at_most(tmp_path):
    result = audit(make_folder(tmp_path, {"cat": 20, "dog": 20}))
    assert [f.code for f in result.findings] == []
    assert result.clean


def test_every_detail_under_a_reason_is_listed_with_its_count():
    left = [
        Excluded(f"/x/{i}", "format_not_allowed", f"{kind} is not opened")
        for i, kind in enumerate(["PDF", "SVG", "SVG", "HEIC"])
    ]
    message = found(left_out=left)["format_not_allowed"].message
    assert all(words in message for words in ("4 files", "PDF is not opened (1)", "SVG is not opened (2)", "HEIC"))
    assert "(1)" not in found(left_out=left[:1])["format_not_allowed"].message


def test_files_that_are_named_as_images_are_listed_first():
    names = ["/p/README.txt", "/p/Thumbs.db", "/p/broken.jpg"]
    (finding,) = find_excluded([Excluded(name, "not_a_picture", "by its name") for name in names])
    assert finding.paths[0] == ("/p/broken.jpg",) and len(finding.paths) == 3
