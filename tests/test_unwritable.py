"""A cache, a state folder or a run folder that can't be written: the first two cost a warning, the last says so."""

import os
import subprocess
import sys

import pytest

from foveal import flow
from foveal.config import TrainConfig
from foveal.errors import UsageError
from foveal.evaluation.evaluate_classifier import evaluate_labels
from foveal.inference.bundle import load_bundle
from foveal.inference.classifier import ClassificationPredictor

FROZEN = TrainConfig(strategy="frozen", time="10m")


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Neither cache nor state folder can be written: a file is in the place of one, and /proc takes no folders."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("FOVEAL_STATE", "/proc/nope")


def test_a_run_needs_neither_cache_nor_state_folder(photos, trained, tmp_path, nowhere):
    run, summary = flow.train(photos, FROZEN, out=str(tmp_path / "run"))
    assert summary["status"] == "done" and summary["test_looks"] == 1
    files = sorted(photos.rglob("*.png"))[:3]
    row = ClassificationPredictor.load(run).probabilities(files)
    assert row.shape == (3, 3)
    assert evaluate_labels(run)["test"]["accuracy"] == summary["test"]["accuracy"]


def test_the_command_warns_once_and_ends_well(trained, photos, tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FOVEAL", "XDG"))} | {
        "HOME": "/proc/nope"
    }
    command = [sys.executable, "-m", "foveal", "predict", str(trained[0]), str(photos / "ant")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and done.stdout.count("\n") == 41
    assert done.stderr.count("FOVEAL_CACHE") == 1 and "Traceback" not in done.stderr


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
