"""A run that is killed in the middle of its training ends in the weights that it would have had.

A small part of `bench/kills.py`, which kills all strategies.
"""

import json
import signal
import subprocess
import sys
import time

import pytest
from safetensors.numpy import load_file

from digits import write_idx
from foveal import flow
from foveal.config import TrainConfig

COMMAND = [sys.executable, "-m", "foveal", "train"]
#: Strategies, the stage in which each is killed, and how often.
STAGES = [("frozen", "features", 2), ("frozen", "refit", 1), ("scratch-seconds", "scratch-seconds-0", 1)]


def stages_of(run, log_from):
    """That were begun since a place in the log."""
    if not (run / "log.jsonl").exists():
        return []
    lines = (run / "log.jsonl").read_text()[log_from:].splitlines()
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return [row["stage"] for row in rows if row.get("event") == "begin"]


def killed_in(stage, run, command):
    """Whether SIGKILL ended the command, as soon as this stage had begun."""
    log_from = len((run / "log.jsonl").read_text()) if run.exists() else 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and stage not in stages_of(run, log_from):
        time.sleep(0.005)
    process.kill()
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize(("strategy", "stage", "times"), STAGES)
def test_killed_in_the_middle_of_training(strategy, stage, times, make_folder, tmp_path):
    if strategy == "frozen":
        data = make_folder(tmp_path / "data", {"ant": 12, "bee": 12})
    else:
        data = write_idx(tmp_path / "data", train=400, test=60, side=8)
    options = ["--strategy", strategy, "--time", "10m", "--no-cache"]
    expected, _ = flow.train(
        str(data), TrainConfig(strategy=strategy, time="10m", cache=False), out=str(tmp_path / "whole")
    )
    run = tmp_path / "run"
    commands = [[*COMMAND, str(data), *options, "--out", str(run)], [*COMMAND, "--resume", str(run)]]
    assert all(killed_in(stage, run, command) for command in commands[:times])
    flow.resume(str(run))
    tensors, others = (load_file(path / "model" / "weights.safetensors") for path in (run, expected))
    assert {k: v.tobytes() for k, v in tensors.items()} == {k: v.tobytes() for k, v in others.items()}
