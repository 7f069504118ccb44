"""`foveal predict`: exit codes, where it writes, and what it never replaces."""

import csv
import io
import json
import os
import shutil
import sys
from types import SimpleNamespace

import pytest

from foveal.cli.main import main
from foveal.inference.outputs.formats import register_format
from foveal.inference.outputs.output_format import OutputFormat
from pictures import draw, encoded
from registered import restored_registries

MODEL = "model:mnist"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with one image and one file that is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.png").write_bytes(encoded(draw(1)))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    return tmp_path


@pytest.fixture
def call(monkeypatch, capsys):
    """`call("predict", …)` in this process: (exit code, stdout, stderr)."""
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["foveal", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return int(caught.value.code or 0), shown.out, shown.err

    return run


@pytest.mark.parametrize(
    ("images", "code"),
    [
        (["one.png"], 0),
        (["one.png", "bad.png"], 1),
        (["one.png", "missing.png"], 1),
        (["bad.png"], 2),
        (["missing.png", "absent.png"], 2),
    ],
)
def test_the_exit_code_tells_how_many_images_failed(here, call, images, code):
    found, out, err = call("predict", MODEL, *images)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert found == code and [row["path"] for row in rows] == images
    assert bool(err) == bool(code)
    assert json.loads(call("predict", MODEL, *images, "--json")[1])["predictions"]


def test_an_empty_folder_is_an_error_and_leaves_no_file(here, call):
    (here / "empty").mkdir()
    for more in ([], ["--out", "a.csv"], ["--map", "--out", "maps"]):
        code, out, err = call("predict", MODEL, "empty", *more)
        assert (code, out) == (2, "") and "empty" in err and "hint:" in err
    assert not (here / "a.csv").exists() and not (here / "maps").exists()


def test_as_many_classes_as_there_are(here, call):
    header = call("predict", MODEL, "one.png", "--topk", "99")[1].splitlines()[0].split(",")
    assert "label_10" in header and "label_11" not in header


def test_an_image_on_stdin(here, call, monkeypatch):
    content = io.BytesIO((here / "one.png").read_bytes())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=content, isatty=lambda: False))
    code, out, _ = call("predict", MODEL, "-")
    row = next(csv.DictReader(io.StringIO(out)))
    assert code == 0 and row["path"] == "-" and row["label"]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    assert call("predict", MODEL, "-")[0] == 2


def test_the_latest_finished_run(here, call, trained, photos):
    assert call("predict", "latest", "one.png")[0] == 2
    for name, age in (("old", 2000), ("new", 1000), ("unfinished", 0)):
        shutil.copytree(trained[0], here / "runs" / name)
        os.utime(here / "runs" / name / "summary.json", (1e9 - age, 1e9 - age))
    (here / "runs" / "unfinished" / "summary.json").unlink()
    for damaged in ("old", "unfinished"):
        shutil.rmtree(here / "runs" / damaged / "model")
    assert call("predict", "latest", photos / "ant" / "000.jpg")[0] == 0


def test_an_earlier_table_is_replaced_and_is_not_an_image(here, call):
    shutil.rmtree(here / "pics", ignore_errors=True)
    (here / "pics").mkdir()
    shutil.copy("one.png", "pics")
    for _ in range(2):
        assert call("predict", MODEL, "pics", "--out", "pics/a.csv")[0] == 0
        assert len((here / "pics" / "a.csv").read_text().splitlines()) == 2
    assert call("predict", MODEL, "pics/a.csv", "pics/one.png", "--out", "pics/a.csv")[0] == 2
    assert len((here / "pics" / "a.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
@pytest.mark.parametrize("images", ["pic.csv", "."])
def test_an_input_is_never_replaced(here, call, images, more):
    (here / "bad.png").unlink()
    before = (here / "one.png").rename("pic.csv").read_bytes()
    (here / "link.csv").symlink_to("pic.csv")
    for out in ("pic.csv", "link.csv"):
        code, stdout, err = call("predict", MODEL, images, "--out", out, *more)
        assert (code, stdout) == (2, "") and out in err and "hint:" in err
    assert (here / "pic.csv").read_bytes() == before and (here / "link.csv").is_symlink()


def test_the_model_is_an_input_too(here, call, trained):
    shutil.copytree(trained[0] / "model", here / "model")
    weights = here / "model" / "weights.safetensors"
    before = weights.read_bytes()
    assert call("predict", "model", "one.png", "--format", "csv", "--out", weights, "--overwrite")[0] == 2
    assert weights.read_bytes() == before


def test_files_of_others_are_kept_unless_the_user_says_so(here, call):
    (here / "mine.csv").write_text("my,table\n")
    code, out, err = call("predict", MODEL, "one.png", "--out", "mine.csv")
    assert (code, out) == (2, "") and "--overwrite" in err
    assert (here / "mine.csv").read_text() == "my,table\n"
    assert call("predict", MODEL, "one.png", "--out", "mine.csv", "--overwrite")[0] == 0
    assert "probability" in (here / "mine.csv").read_text()


def test_targets_that_cannot_be_written_are_refused_before_the_work(here, call, monkeypatch):
    os.mkfifo("pipe")
    (here / "folder.csv").mkdir()

    def read():
        raise AssertionError("an image was read before the target was checked")

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(read=read), isatty=lambda: False))
    for out in ("pipe", "folder.csv", "/dev/full", "/proc/nope/a.csv", "one.png/a.csv"):
        code, stdout, err = call("predict", MODEL, "-", "--format", "csv", "--out", out)
        assert (code, stdout) == (2, "") and out in err and "hint:" in err
    assert (here / "pipe").is_fifo() and not os.path.isfile("/dev/full")


def test_a_disk_that_is_full_by_then_is_no_internal_error(here, call, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("foveal.files.os.fsync", full)
    code, out, err = call("predict", MODEL, "one.png", "--out", "a.csv")
    assert (code, out) == (2, "") and "space" in err and "hint:" in err


@pytest.mark.parametrize("out", ["-", "/dev/stdout"])
def test_stdout_by_name(here, call, out):
    code, shown, _ = call("predict", MODEL, "one.png", "--out", out)
    assert code == 0 and shown == call("predict", MODEL, "one.png")[1]
    assert not (here / "-").exists()


def test_a_format_from_outside_is_checked_like_ours(here, call):
    def write(predictions, target, options):
        rows = [f"# {p.path}\n" for p in predictions]
        target.write_text("".join(rows))
        return len(rows)

    with restored_registries():
        register_format(
            OutputFormat("marked", write, suffixes=(".md",), is_ours=lambda p: p.read_text()[0] == "#")
        )
        (here / "mine.md").write_text("mine")
        (here / "link.md").symlink_to("one.png")
        for out in ("mine.md", "link.md"):
            assert call("predict", MODEL, "one.png", "--out", out)[0] == 2
        for _ in range(2):
            assert call("predict", MODEL, "one.png", "--out", "new.md")[0] == 0
    assert (here / "mine.md").read_text() == "mine" and (here / "new.md").read_text() == "# one.png\n"


def test_maps_take_the_place_of_nothing(here, call):
    (here / "maps").mkdir()
    (here / "maps" / "one.png").write_bytes(b"mine")
    assert call("predict", MODEL, "one.png", "--map", "--out", "maps")[0] == 0
    assert (here / "maps" / "one.png").read_bytes() == b"mine" and (here / "maps" / "one-2.npy").exists()
    before = sorted(os.listdir("maps"))
    assert call("predict", MODEL, "one.png", "--map", "--out", "maps", "--quiet")[0] == 0
    assert sorted(os.listdir("maps")) == before  # ours are replaced
    assert call("predict", MODEL, "maps/one-2.png", "--map", "--out", "maps")[0] == 2
    assert call("predict", MODEL, "one.png", "--map", "--out", "one.png")[0] == 2


def test_quiet_prints_errors_only(here, call):
    assert call("predict", MODEL, "one.png", "--out", "a.csv", "--quiet") == (0, "", "")
    code, out, err = call("predict", MODEL, "one.png", "bad.png", "--out", "a.csv", "--quiet")
    assert (code, out) == (1, "") and len(err.splitlines()) == 1


def test_which_run_the_latest_is_is_said_on_stderr(here, call, trained):
    (here / "runs").mkdir()
    shutil.copytree(trained[0], here / "runs" / "newest")
    code, out, err = call("predict", "latest", "one.png")
    assert code == 0 and "latest: runs/newest" in err and "latest" not in out
    assert "latest:" not in call("predict", "latest", "one.png", "--quiet")[2]


def test_files_of_a_folder_that_are_no_images_by_name_are_skipped_and_counted(here, call):
    folder = here / "new"
    folder.mkdir()
    (folder / "one.png").write_bytes(encoded(draw(1)))
    for name in ("README.txt", "notes.md", "Thumbs.db", ".DS_Store", "labels.csv", "labels.json"):
        (folder / name).write_text("no image")
    code, out, err = call("predict", MODEL, "new")
    assert code == 0 and len(out.splitlines()) == 2 and "5 files skipped" in err
    assert call("predict", MODEL, "new/README.txt")[0] == 2  # it was named itself


@pytest.mark.parametrize(("name", "hint"), [("a.zip", "unpack it"), ("a.csv", "give the images that it names")])
def test_an_archive_or_a_table_is_answered_with_what_to_give_instead(here, call, name, hint):
    (here / name).write_text("x")
    code, _, err = call("predict", MODEL, name)
    assert code == 2 and f"hint: {name}: {hint}" in err


def test_where_no_image_can_be_read_there_is_a_hint(here, call):
    code, _, err = call("predict", MODEL, "bad.png")
    assert code == 2 and "1 of 1 image could not be read" in err and "hint: give image files" in err


def test_one_prediction_is_counted_as_one(here, call):
    assert "1 prediction in p.csv" in call("predict", MODEL, "one.png", "--out", "p.csv")[2]


def test_a_folder_for_the_output_that_does_not_exist_is_refused(here, call):
    code, _, err = call("predict", MODEL, "one.png", "--out", "no/such/dir/p.csv")
    assert code == 2 and "there is no folder" in err and "mkdir -p" in err and not (here / "no").exists()
    code, _, err = call("zoo", "lenet5", "--svg", "no/x.svg")
    assert code == 2 and "there is no folder" in err and not (here / "no").exists()
