"""Answers that are files never replace a file that foveal did not write."""

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
    assert [names.fresh(f"photos/{n}.jpg") for n in (7, 8, 9, 10)] == ["7-2", "8-2", "9-2", "10"]


def test_what_an_earlier_call_wrote_is_written_anew(tmp_path):
    for name in ("7.png", "8.npy", "8.png", "8-cat.png"):
        (tmp_path / name).write_bytes(b"")
    entries = [{"path": "7.jpg", "mask": str(tmp_path / "7.png")}, {"path": "x.jpg", "error": "empty"}]
    (tmp_path / "predictions.json").write_text(json.dumps({"schema": 1, "predictions": entries}))
    heat = {"cat": str(tmp_path / "8-cat.png")}
    record = {"schema": 1, "array": str(tmp_path / "8.npy"), "overlay": str(tmp_path / "8.png"), "heat": heat}
    (tmp_path / "8.json").write_text(json.dumps(record))
    names = Names(tmp_path)
    assert [names.fresh(f"{n}.jpg") for n in (7, 8)] == ["7", "8"]


@given(st.lists(st.sampled_from(["a", "A", "a-2", "a-2-2", "b"]), max_size=8))
def test_no_name_is_given_twice(stems):
    names = Names(_NOWHERE)
    given_names = [names.fresh(f"{i}/{stem}.jpg").lower() for i, stem in enumerate(stems)]
    assert len(set(given_names)) == len(stems)


def test_pictures_that_are_asked_about_are_not_in_the_folder_of_answers(tmp_path):
    (tmp_path / "7.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"7\.png"):
        Names(tmp_path, ["elsewhere/1.png", str(tmp_path / "7.png")])
    Names(tmp_path / "answers", [str(tmp_path / "7.png")])
