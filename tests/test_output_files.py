"""Nothing of the user's is replaced, and what can't be written is refused before the work."""

import os
import socket
from pathlib import Path

import pytest

from foveal import files, output_files
from foveal.errors import UsageError
from foveal.output_files import check_file, check_folder, names_stdout, saving


def check(out, **options):
    check_file(out, is_ours=lambda path: path.read_bytes().startswith(b"ours"), **options)


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("content", [None, b"", b"ours: 1, 2"])
def test_a_new_file_an_empty_one_and_one_of_ours_may_be_written(tmp_path, content):
    if content is not None:
        (tmp_path / "a.csv").write_bytes(content)
    check(tmp_path / "a.csv")


def test_a_file_in_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no folder") as refused:
        check(tmp_path / "new" / "er" / "a.csv")
    assert "mkdir -p" in refused.value.hint and not (tmp_path / "new").exists()


def test_a_file_of_somebody_else_is_kept_unless_the_user_says_so(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"mine")
    with pytest.raises(UsageError) as refused:
        check(tmp_path / "a.csv")
    assert "a.csv" in str(refused.value) and refused.value.hint
    check(tmp_path / "a.csv", overwrite=True)


@pytest.mark.parametrize("by", ["name", "link", "hard link", "link to the input"])
def test_an_input_is_kept_in_any_case(tmp_path, by):
    photo, out = tmp_path / "photo.jpg", tmp_path / "out.csv"
    photo.write_bytes(b"ours")
    given = photo
    if by == "name":
        out = photo
    elif by == "link":
        out.symlink_to(photo)
    elif by == "hard link":
        out.hardlink_to(photo)
    else:
        given = tmp_path / "given.jpg"
        given.symlink_to(photo)
        out = photo
    with pytest.raises(UsageError, match="input"):
        check(out, inputs=[tmp_path / "other", given], overwrite=True)


def test_what_is_no_regular_file_is_refused(tmp_path, pipe):
    link = tmp_path / "link"
    link.symlink_to("/dev/full")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # names of sockets are short
        server.bind("socket")
        os.chdir(here)
        for out in (tmp_path, pipe, link, loop, tmp_path / "socket"):
            with pytest.raises(UsageError) as refused:
                check(out, overwrite=True)
            assert refused.value.hint


def test_a_place_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "a.csv", tmp_path / "file" / "b" / "a.csv"):
        with pytest.raises(UsageError):
            check(out)
    with pytest.raises(UsageError):
        check_folder(tmp_path / "file")

    def read_only(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(output_files.tempfile, "TemporaryFile", read_only)
    for refuse in (check, check_folder):
        with pytest.raises(UsageError, match="Read-only"):
            refuse(tmp_path / "a")


def test_a_write_protected_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_bytes(b"ours")
    monkeypatch.setattr(output_files.os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(UsageError, match="protected"):
        check(tmp_path / "a.csv", overwrite=True)


def test_folders_that_must_be_empty(tmp_path):
    check_folder(tmp_path, empty=True)
    check_folder(tmp_path / "new", empty=True)
    (tmp_path / "mine.txt").write_text("mine")
    check_folder(tmp_path)
    with pytest.raises(UsageError, match="empty"):
        check_folder(tmp_path, empty=True)


def test_a_link_to_a_folder_that_is_missing_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    check_folder(tmp_path / "link")
    assert (tmp_path / "real").is_dir()


def test_links_are_written_through(tmp_path):
    for name in ("live", "dangling"):
        (tmp_path / name).symlink_to(tmp_path / "far" / f"{name}.csv")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "live.csv").write_text("old")
    for name in ("live", "dangling"):
        files.write_text(tmp_path / name, "new")
        assert (tmp_path / name).is_symlink() and (tmp_path / "far" / f"{name}.csv").read_text() == "new"
    assert sorted(f.name for f in (tmp_path / "far").iterdir()) == ["dangling.csv", "live.csv"]


def test_a_pipe_keeps_its_place_and_a_private_file_its_permissions(tmp_path, pipe):
    with pytest.raises(OSError, match="regular"):
        files.write_text(pipe, "x")
    assert pipe.is_fifo() and len(list(tmp_path.iterdir())) == 1
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o600)
    files.write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SystemExit(130)])
def test_what_was_written_before_a_failure_stays(tmp_path, error):
    told = []
    target = tmp_path / "a.csv"
    target.write_text("old")
    for _ in range(2):
        with pytest.raises(type(error)), saving(target, told.append) as part:
            part.write_text("row 1")
            raise error
    assert [f.name for f in told] == ["a.partial.csv", "a.partial-2.csv"]
    assert all(f.read_text() == "row 1" for f in told) and target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 3


def test_names_of_stdout():
    assert names_stdout(Path("-")) and names_stdout(Path("/dev/stdout")) and not names_stdout(Path("stdout"))


def test_a_folder_of_its_own_may_be_made_with_a_file(tmp_path):
    new = tmp_path / "new" / "predictions.json"
    check_file(new, is_ours=lambda _: False, makes_folder=True)
    with pytest.raises(UsageError) as refused:
        check_file(new, is_ours=lambda _: False)
    assert refused.value.hint
