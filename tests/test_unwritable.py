"""A cache, a state folder or a run folder that can't be written: the first two cost a warning, the last says so."""

import ctypes
import json
import os
import shutil
import subprocess
import sys

import pytest

from foveal import flow
from foveal.config import TrainConfig
from foveal.errors import UsageError
from foveal.evaluation.evaluate_classifier import evaluate_labels
from foveal.inference.bundle import load_bundle
from foveal.inference.classifier import ClassificationPredictor

FROZEN = TrainConfig(strategy="frozen", time="10m", test="subset")


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Neither cache nor state folder can be written: a file is in the place of one, and /proc takes no folders."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("FOVEAL_STATE", "/proc/nope")


def test_a_run_needs_neither_cache_nor_state_folder(make_folder, tmp_path, nowhere):
    photos = make_folder(tmp_path / "photos", {"ant": 12, "bee": 12})
    run, summary = flow.train(photos, FROZEN, out=str(tmp_path / "run"))
    assert summary["status"] == "done" and summary["test_looks"] == 1
    files = sorted(photos.rglob("*.png"))[:3]
    row = ClassificationPredictor.load(run).probabilities(files)
    assert row.shape == (3, 2)
    assert evaluate_labels(run)["test"]["accuracy"] == summary["test"]["accuracy"]


def test_the_command_warns_once_and_ends_well(trained, photos, tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FOVEAL", "XDG"))} | {
        "HOME": "/proc/nope"
    }
    command = [sys.executable, "-m", "foveal", "predict", str(trained[0]), str(photos / "ant")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and done.stdout.count("\n") == 41
    assert done.stderr.count("FOVEAL_CACHE") == 1 and "Traceback" not in done.stderr


#: Of Linux: drop a capability for good, and the two by which root writes and reads where it may not.
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


def obey_permissions():
    """From the next program on, root may write only where the mode of a file says so, like any other user."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            os._exit(99)


def by_a_user(*arguments, cwd, home, **environment):
    """The command of a user who owns nothing but what is writable."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FOVEAL", "XDG"))}
    command = [sys.executable, "-m", "foveal", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=kept | environment | {"HOME": str(home)},
        preexec_fn=obey_permissions if os.geteuid() == 0 else None,
    )


@pytest.fixture
def read_only(tmp_path, make_folder, own_folders):
    """Images, a home with cache and state, and a place to work in, of which nothing can be written."""
    root = tmp_path / "read-only"
    root.mkdir()
    make_folder(root / "photos", {"ant": 12, "bee": 12})
    (root / "home").mkdir()
    (root / "state").mkdir()
    for name in ("models", "compiled"):
        shutil.copytree(os.path.join(os.environ["FOVEAL_CACHE"], name), root / "cache" / name)
    places = [root, *root.rglob("*")]
    for path in places:
        path.chmod(path.stat().st_mode & 0o555)
    yield root
    for path in places:
        path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux root can be kept from writing everywhere")
def test_a_user_who_may_write_to_the_run_folder_alone(trained, read_only, tmp_path):
    out = tmp_path / "writable" / "run"
    out.parent.mkdir()
    place = {"cwd": read_only, "home": read_only / "home"}
    folders = {"FOVEAL_CACHE": str(read_only / "cache"), "FOVEAL_STATE": str(read_only / "state")}
    options = ["--strategy", "frozen", "--test", "subset", "--json"]
    if by_a_user("--version", **place).returncode == 99:
        pytest.skip("capabilities can't be dropped here")
    done = by_a_user("train", "photos", "--out", out, *options, **place, **folders)
    assert done.returncode == 0 and json.loads(done.stdout)["status"] == "done", done.stderr
    assert "Traceback" not in done.stderr
    assert (done.stderr.count("FOVEAL_CACHE"), done.stderr.count("FOVEAL_STATE")) == (1, 1)

    done = by_a_user("predict", trained[0], "photos/ant", **place)  # neither folder is there, nor can it be made
    assert done.returncode == 0 and done.stdout.count("\n") == 13 and done.stderr.count("FOVEAL_CACHE") == 1

    for refused in (["--out", "run"], []):
        done = by_a_user("train", "photos", *refused, *options, **place, **folders)
        assert done.returncode == 2 and "hint:" in done.stderr and "Traceback" not in done.stderr
        assert "FOVEAL_CACHE" not in done.stderr  # no image was read yet
    done = by_a_user("predict", out, "photos", "--out", "predictions.csv", **place, **folders)
    assert done.returncode == 2 and "predictions.csv" in done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in read_only.iterdir()) == ["cache", "home", "photos", "state"]


def fill(disk, *, leaving):
    """Take all of a disk but so many bytes."""
    state = os.statvfs(disk)
    (disk / "filler").write_bytes(b"x" * (state.f_bavail * state.f_frsize - leaving))


def test_a_full_disk_keeps_the_model_that_was_there_and_says_what_is_needed(photos, trained, tiny_disk):
    if tiny_disk is None:
        pytest.skip("a small disk can't be mounted here")
    run = tiny_disk / "run"
    fill(tiny_disk, leaving=12_288)
    with pytest.raises(UsageError) as refused:
        flow.train(photos, FROZEN, out=str(run))
    assert "MB" in refused.value.hint and str(run) in str(refused.value)
    (tiny_disk / "filler").unlink()
    if (run / "config.json").exists():
        _, summary = flow.resume(str(run))
    else:
        _, summary = flow.train(photos, FROZEN, out=str(run))
    assert summary["status"] == "done"
    model = load_bundle(run).manifest
    content = {f.name: f.read_bytes() for f in (run / "model").iterdir()}
    fill(tiny_disk, leaving=8192)
    with pytest.raises(UsageError), flow.RunFolder(run).writing(100_000):
        flow.save_bundle(load_bundle(trained[0]), run / "model")
    assert {f.name: f.read_bytes() for f in (run / "model").iterdir()} == content
    assert load_bundle(run).manifest == model
