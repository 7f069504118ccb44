"""A segmenter by the command line: its process is stopped; it is resumed, replayed, and evaluated on other images."""

import json
import subprocess
import sys
import time

import pytest
from safetensors.numpy import load_file

import masked
from foveal.cli.main import app

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "foveal"]


def run(*arguments):
    """A command that ends well, in this process."""
    with pytest.raises(SystemExit) as ended:
        app([*map(str, arguments)])
    assert not ended.value.code


def weights(path):
    return {k: v.tobytes() for k, v in load_file(path / "model" / "weights.safetensors").items()}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Ended by SIGTERM while it trains, and resumed."""
    base = tmp_path_factory.mktemp("segment")
    data, path = masked.write_pairs(base / "pairs", 24), base / "run"
    command = [*COMMAND, "train", str(data), "--strategy", "fcn8s", "--time", "17s", "--out", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = path / "log.jsonl"
    while process.poll() is None and not (log.exists() and '"stage": "fcn8s", "step"' in log.read_text()):
        time.sleep(0.02)
    process.terminate()
    assert process.wait(60) == 143 and not (path / "summary.json").exists()
    run("train", "--resume", path)
    return data, path


def test_a_segmenter_stopped_and_resumed_is_replayed_to_the_same_weights(stopped, tmp_path):
    _, path = stopped
    run("train", "--replay", path, "--out", tmp_path / "again")
    assert weights(tmp_path / "again") == weights(path)
    figures = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    assert any(f.get("per_second", 0) > 0 and f["left_s"] >= 0 for f in figures if f["event"] == "figures")


def test_evaluate_on_a_folder_of_images_and_masks(stopped, tmp_path, capsys):
    _, path = stopped
    other = masked.write_pairs(tmp_path / "other", 6, seed=100)
    run("evaluate", path, other, "--json")
    figures = json.loads(capsys.readouterr().out)["test"]
    assert figures["n"] == 6 and 0 < figures["miou"] <= 1
    assert {"miou_ci95", "pixel_accuracy", "boundary_f1", "per_class"} <= set(figures)
