"""Answers that are files never replace a file that foveal did not write."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import UsageError
from foveal.inference.outputs.names import Names

_NOWHERE = Path("there is no such folder")


def test_another_file_of_that_name_keeps_it(tmp_path):
    (tmp_path / "7.png").write_bytes(b"mine")
    (tmp_path / "overlays").mkdir()
    (tmp_path / "overlays" / "8.png").write_bytes(b"mine, too")
    (tmp_path / "notes.json").write_text('{"array": "9.npy"}')
    (tmp_path / "9.npy").write_bytes(b"mine as well")
    names = Names(tmp_path)
    fresh = [names.fresh(f"photos/{n}.jpg", [".npy", ".png"], also_in=["overlays"]) for n in (7, 8, 9, 10)]
    assert fresh == ["7-2", "8-2", "9-2", "10"]


def digests(*files):
    return {name: hashlib.sha256(name.encode()).hexdigest() for name in files}


@pytest.fixture
def written(tmp_path):
    """A folder with the mask of image 7 and the map of image 8, and our records of them."""
    for name in ("7.png", "8.npy", "8.png", "8-cat.png"):
        (tmp_path / name).write_text(name)
    entries = [{"path": "7.jpg", "sha256": digests("7.png")}, {"path": "x.jpg", "error": "empty"}]
    (tmp_path / "predictions.json").write_text(json.dumps({"schema": 1, "predictions": entries}))
    record = {"schema": 1, "array": "8.npy", "sha256": digests("8.npy", "8.png", "8-cat.png")}
    (tmp_path / "8.json").write_text(json.dumps(record))
    return tmp_path


MAP = [".npy", ".png", ".json", "-cat.png"]


def test_what_an_earlier_call_wrote_is_written_anew(written):
    names = Names(written)
    assert (names.fresh("7.jpg", [".png"]), names.fresh("8.jpg", MAP)) == ("7", "8")


@pytest.mark.parametrize("changed", ["8.npy", "8-cat.png", "8.json"])
def test_what_was_changed_since_is_not(written, changed):
    (written / changed).write_text("corrected by hand")
    assert Names(written).fresh("8.jpg", MAP) == "8-2"
    assert Names(written, overwrite=True).fresh("8.jpg", MAP) == "8"


def test_links_and_folders_of_that_name_keep_it(tmp_path):
    (tmp_path / "1.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "2.png").mkdir()
    names = Names(tmp_path)
    assert [names.fresh(f"{n}.jpg", [".png"]) for n in (1, 2)] == ["1-2", "2-2"]


def test_no_file_of_one_image_takes_the_place_of_a_file_of_another(tmp_path):
    names = Names(tmp_path)
    assert [names.fresh(f, MAP) for f in ("7.jpg", "7-cat.jpg")] == ["7", "7-cat-2"]


def test_long_names_leave_room_for_endings():
    name = Names(_NOWHERE).fresh("é" * 125 + ".jpg", [".png"])
    assert set(name) == {"é"} and len(name.encode()) <= 120


@given(st.lists(st.sampled_from(["a", "A", "a-2", "a-2-2", "b"]), max_size=8))
def test_no_name_is_given_twice(stems):
    names = Names(_NOWHERE)
    given_names = [names.fresh(f"{i}/{stem}.jpg", [".png"]).lower() for i, stem in enumerate(stems)]
    assert len(set(given_names)) == len(stems)


def test_pictures_that_are_asked_about_are_not_in_the_folder_of_answers(tmp_path):
    (tmp_path / "7.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"7\.png"):
        Names(tmp_path, ["elsewhere/1.png", str(tmp_path / "7.png")])
    Names(tmp_path / "answers", [str(tmp_path / "7.png")])
