"""Runs that are stopped, killed, resumed and replayed, by the command line as well."""

import json
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from digits import bars, idx, write_idx
from foveal import flow
from foveal.cli.main import app
from foveal.cli.train import summary_lines
from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.data.images.idx import read_idx
from foveal.data.sources.samples import unpack
from foveal.errors import BundleError, DataError, FovealError, Interrupted, UsageError
from foveal.evaluation.evaluate_classifier import evaluate_labels
from foveal.files import read_json
from foveal.progress import logged_seconds
from foveal.schema import signed
from foveal.training.recipes.scratch import RECIPES
from foveal.training.strategies.from_scratch import FromScratch
from foveal.training.strategies.registry import STRATEGIES
from registered import restored_registries
from signed import change

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "foveal", "train"]
#: Ample on a busy machine, so that no run is shortened for want of time.
BUDGET = "10m"


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    """The recipe for seconds, with fewer and smaller steps in this process."""
    with restored_registries():
        recipe = replace(RECIPES[0], least_steps=60, batch_size=64)
        STRATEGIES["scratch"][:] = [FromScratch(recipe)]
        yield


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """800 small images to train on, 300 to test on."""
    return write_idx(tmp_path_factory.mktemp("bars"), train=800, side=8)


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    """(folder, summary) of a run that nothing disturbed."""
    config = TrainConfig(time=BUDGET, strategy="scratch-seconds")
    return flow.train(str(small), config, out=str(tmp_path_factory.mktemp("runs") / "run"))


def weights(run):
    return {k: v.tobytes() for k, v in load_file(run / "model" / "weights.safetensors").items()}


def test_small_images_train_from_scratch(finished):
    path, summary = finished
    assert summary["strategy"]["name"] == "scratch-seconds"
    assert summary["model"]["backbone"] is None and summary["model"]["input"] == [1, 8, 8]
    assert summary["engine"].startswith("torch-")
    assert summary["test"]["n"] == 300 and summary["test"]["accuracy"] > 0.9
    assert not summary["refit"]["done"] and "scratch-seconds" in summary["refit"]["reason"]
    assert summary["refit"]["images"] == summary["split"]["train"] and not (path / "measured").exists()
    config = read_json(path / "config.json")
    assert config["decisions_schema"] == 2
    assert {"route", "device", "normalization", "scratch-seconds/steps"} <= set(config["decisions"])
    figures = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    assert any(f.get("event") == "figures" and "loss" in f for f in figures)


def test_the_bundle_predicts_as_the_run_evaluated(finished, small):
    import foveal

    path, summary = finished
    model = foveal.load(path)
    images, labels = bars(300, seed=1, side=8)
    predicted = model.predict(list(images))
    assert np.mean([int(p) for p in predicted] == labels) == pytest.approx(summary["test"]["accuracy"])
    again = model.evaluate()
    assert (
        again["test"]["accuracy"] == summary["test"]["accuracy"]
        and again["test_looks"] == summary["test_looks"] + 1
    )


def test_replay_gives_the_same_weights(finished, tmp_path):
    path, summary = finished
    again, repeated = flow.replay(str(path), out=str(tmp_path / "again"))
    assert weights(again) == weights(path)
    assert repeated["test"]["accuracy"] == summary["test"]["accuracy"]
    assert repeated["test_looks"] > summary["test_looks"]


def test_sigterm_saves_the_state_and_exits_with_143(small, tmp_path):
    run = tmp_path / "run"
    command = [*COMMAND, str(small), "--strategy", "scratch-minute", "--time", "10m", "--out", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and "scratch-minute-0" not in _text(run / "log.jsonl"):
        time.sleep(0.02)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "--resume" in said and "Traceback" not in said
    assert list((run / "checkpoints").glob("*/last-*.safetensors")) and not (run / "summary.json").exists()


def _text(path):
    return path.read_text() if path.exists() else ""


class Leaves(Clock):
    """A clock that is told to stop, or to leave, when it is read for the nth time."""

    def __init__(self, after, how):
        super().__init__()
        self.after, self.how = after, how

    def left(self, *, reserve=0.0):
        self.after -= 1
        if self.after == 0:
            getattr(self, self.how)()
        return super().left(reserve=reserve)


def test_stopped_by_ctrl_c_it_is_finished_and_can_be_repeated(small, tmp_path):
    config = TrainConfig(strategy="scratch-seconds")
    path, summary = flow.train(str(small), config, out=str(tmp_path / "a"), clock=Leaves(6, "stop"))
    assert summary["status"] == "interrupted"
    assert any("by Ctrl-C" in line for line in summary_lines(path, summary) if line.startswith("stopped"))
    with pytest.raises(UsageError, match="was stopped by Ctrl-C"):
        flow.resume(str(path))
    assert "scratch-seconds-0/stopped_at" in read_json(path / "config.json")["decisions"]
    again, _ = flow.replay(str(path), out=str(tmp_path / "b"))
    assert weights(again) == weights(path)


@pytest.mark.parametrize("after", [1, 3, 5, 8])
def test_told_to_leave_at_any_moment_it_ends_as_it_would_have(finished, small, tmp_path, after):
    """What a stop brings about is not a decision of the run: the resumed run makes its own."""
    config = TrainConfig(time=BUDGET, strategy="scratch-seconds")
    clock, run = Leaves(after, "request_exit"), tmp_path / "run"
    with suppress(Interrupted):
        flow.train(str(small), config, out=str(run), clock=clock)
    if not (run / "summary.json").exists():
        flow.resume(str(run))
    assert weights(run) == weights(finished[0])


def test_a_resumed_run_has_what_is_left_of_its_time(finished, small, tmp_path):
    """A training that had begun is finished, however long it takes."""
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        config = TrainConfig(time=BUDGET, strategy="scratch-seconds")
        flow.train(str(small), config, out=str(run), clock=Leaves(6, "request_exit"))
    with (run / "log.jsonl").open("a") as log:
        log.write('{"event": "say", "text": "hours later", "t": 5000}\n{"event": "beg')
    _, summary = flow.resume(str(run))
    assert weights(run) == weights(finished[0])
    assert summary["time"]["total_s"] > 5000 and summary["time"]["budget_s"] == 600


def test_seconds_of_several_processes_are_added_up(tmp_path):
    log = tmp_path / "log.jsonl"
    assert logged_seconds(log) == 0
    log.write_text(
        '[5]\nnull\n{"t": 1e300}\n{"t": -5}\n'
        + "".join(json.dumps({"event": "say", "t": t}) + "\n" for t in (0.1, 7, 0.2, 3, 0.5))
        + '{"t": 9'
    )
    assert logged_seconds(log) == pytest.approx(10.5)


def leave(data, run):
    """Train, and be told to leave in the middle of it."""
    with pytest.raises(Interrupted):
        flow.train(
            str(data), TrainConfig(strategy="scratch-seconds"), out=str(run), clock=Leaves(6, "request_exit")
        )
    return run


@pytest.fixture(scope="module")
def left_once(small, tmp_path_factory):
    return leave(small, tmp_path_factory.mktemp("left") / "run")


@pytest.fixture
def left(left_once, tmp_path):
    """A run that was told to leave in the middle of training."""
    return shutil.copytree(left_once, tmp_path / "run")


def test_a_run_whose_data_changed_is_not_resumed(small, tmp_path):
    data = shutil.copytree(small, tmp_path / "data")
    run = leave(data, tmp_path / "run")
    images, _ = bars(800, seed=0, side=8)
    images = images.copy()
    images[[7, 11]] = 255 - images[[7, 11]]
    (data / "train-images-idx3-ubyte").write_bytes(idx(images))
    before = contents(run)
    with pytest.raises(DataError, match=r"ubyte#11, \S*ubyte#7$"):
        flow.resume(str(run))
    assert contents(run) == before


def contents(folder):
    """Of every file below a folder, without the log of a run."""
    return {f: f.read_bytes() for f in Path(folder).rglob("*") if f.is_file() and f.name != "log.jsonl"}


def test_a_checkpoint_of_other_settings_is_refused(left):
    run = left
    marks = list(run.glob("checkpoints/*/*.json"))
    for mark in marks:
        known = json.loads(mark.read_text())
        assert known["facts"]["settings"]["lr"] != 99
        known["facts"]["settings"]["lr"] = 99
        mark.write_text(json.dumps(signed(known)))
    before = contents(run / "checkpoints")
    with pytest.raises(BundleError) as caught:
        flow.resume(str(run))
    assert marks and caught.value.hint and contents(run / "checkpoints") == before


def test_what_cannot_be_resumed_or_replayed(finished, left, tmp_path):
    with pytest.raises(UsageError) as caught:
        flow.resume(str(finished[0]))
    assert "--replay" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        flow.replay(str(left))
    assert "--resume" in caught.value.hint
    with pytest.raises(BundleError, match=r"config\.json"):
        flow.resume(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
    (left / "config.json").write_text("{}")
    with pytest.raises(BundleError, match=r"config\.json"):
        flow.resume(str(left))


WRONG_JSON = [
    "[]",
    "null",
    "5",
    '"text"',
    "",
    "[" * 90_000,
    '{"decisions_schema": 2, "decisions": 5}',
    '{"a": NaN}',
]


@pytest.mark.parametrize("name", ["config.json", "audit.json"])
@pytest.mark.parametrize("content", WRONG_JSON)
def test_json_of_another_kind_in_a_run_is_refused(finished, tmp_path, name, content):
    run = damaged_copy(finished, tmp_path)
    (run / name).write_text(content)
    refused_everywhere(run, tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.update(time=[5]),
        lambda c: c.update(seed="0"),
        lambda c: c.update(data=None),
        lambda c: c.update(files=5),
        lambda c: c.update(files={"split.csv": ["x"]}),
        lambda c: c["decisions"].update(device=5),
        lambda c: c["decisions"]["device"].update(value=5),
        lambda c: c["decisions"]["device"]["value"].update(threads=10**9),
        lambda c: c["decisions"]["route"].update(value={"name": "scratch", "preprocess": {"size": 100_000}}),
        lambda c: c["decisions"]["scratch-seconds/steps"].update(value=-5),
        lambda c: c["decisions"]["normalization"]["value"].update(std=[0, 0, 0]),
    ],
)
def test_a_setting_or_decision_out_of_range_is_refused_even_when_signed(finished, tmp_path, edit):
    run = damaged_copy(finished, tmp_path)
    change(run, edit, "config.json")
    refused_everywhere(run, tmp_path)


def test_a_plausible_edit_of_a_decision_is_refused(finished, tmp_path):
    run = damaged_copy(finished, tmp_path)
    config = read_json(run / "config.json")
    config["decisions"]["scratch-seconds/steps"]["value"] = 1
    (run / "config.json").write_text(json.dumps(config))
    refused_everywhere(run, tmp_path)


@pytest.mark.parametrize(
    "edit", [lambda t: "", lambda t: t[:60], lambda t: t.replace("train", "test", 1), lambda t: t + "short,row\n"]
)
def test_an_edited_split_is_refused(finished, tmp_path, edit):
    run = damaged_copy(finished, tmp_path)
    (run / "split.csv").write_text(edit((run / "split.csv").read_text()))
    refused_everywhere(run, tmp_path)
    with pytest.raises(DataError, match=r"split\.csv"):
        evaluate_labels(run)


def damaged_copy(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "copy")


def refused_everywhere(run, tmp_path):
    """By replay, and, once it is not finished, by resume; with words, and without a trace."""
    with pytest.raises((BundleError, DataError)) as caught:
        flow.replay(str(run), out=str(tmp_path / "again"))
    assert str(run) in str(caught.value) or "config.json" in str(caught.value)
    assert caught.value.hint and not (tmp_path / "again").exists()
    (run / "summary.json").unlink()
    before = contents(run)
    with pytest.raises((BundleError, DataError)):
        flow.resume(str(run))
    assert contents(run) == before


def test_a_replay_that_was_stopped_is_resumed_to_the_same_weights(finished, tmp_path):
    run = tmp_path / "again"
    with pytest.raises(Interrupted):
        flow.replay(str(finished[0]), out=str(run), clock=Leaves(3, "request_exit"))
    assert not (run / "summary.json").exists()
    flow.resume(str(run))
    assert weights(run) == weights(finished[0])


def test_of_two_processes_that_resume_a_run_one_goes_on_and_the_other_names_it(left, finished):
    run = left
    with flow.RunFolder(run).locked():
        with (run / "log.jsonl").open("a") as log:
            log.write(json.dumps({"event": "process", "pid": 4321, "t": 0}) + "\n")
        done = subprocess.run([*COMMAND, "--resume", run], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "4321" in done.stderr and "Traceback" not in done.stderr
    flow.resume(str(run))
    assert (run / "summary.json").exists() and not (run / ".lock").exists()


def test_a_lock_dies_with_its_process(left):
    run = left
    code = (
        "import sys, time; from pathlib import Path; from foveal.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(run)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match="process"):
        flow.resume(str(run))
    holder.kill()
    holder.communicate()
    flow.resume(str(run))
    assert (run / "summary.json").exists()


def test_a_run_that_was_killed_before_it_could_be_resumed_makes_room_for_another(small, tmp_path):
    run = tmp_path / "run"
    command = [*COMMAND, str(small), "--strategy", "scratch-seconds", "--time", BUDGET, "--out", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (run / "log.jsonl").exists():
        time.sleep(0.005)
    process.kill()
    process.wait()
    for name in ("config.json", "split.csv"):  # in case it was faster
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    (run / ".0123.part").write_bytes(b"half")
    assert f"--out {run}" in refused("--resume", run).hint
    path, summary = flow.train(str(small), TrainConfig(strategy="scratch-seconds"), out=str(run))
    assert summary["status"] == "done" and not (path / ".0123.part").exists()


def test_a_folder_with_something_of_the_users_is_never_swept(small, tmp_path, left):
    (tmp_path / "mine").mkdir()
    for name in ("log.jsonl", "notes.txt"):
        (tmp_path / "mine" / name).write_text('{"event": "process"}\n')
    with pytest.raises(UsageError):
        flow.train(str(small), out=str(tmp_path / "mine"))
    assert len(list((tmp_path / "mine").iterdir())) == 2
    (tmp_path / "mine" / "notes.txt").unlink()
    (tmp_path / "mine" / "log.jsonl").write_text("a log of something else\n")
    with pytest.raises(UsageError):
        flow.train(str(small), out=str(tmp_path / "mine"))
    with pytest.raises(UsageError) as caught:
        flow.train(str(small), out=str(left))
    assert "--resume" in caught.value.hint


def as_before_schema_2(run):
    """The run's config.json as earlier versions wrote it: no schema, and other ids."""
    config = read_json(run / "config.json")
    assert config.pop("decisions_schema") == 2
    config["decisions"] = {name.replace("/", " "): made for name, made in config["decisions"].items()}
    (run / "config.json").write_text(json.dumps(config))


def refused(*arguments):
    """What `foveal train` raises, which ends the command with 2."""
    with pytest.raises(FovealError) as caught:
        app(["train", *map(str, arguments)])
    assert caught.value.exit_code == 2 and caught.value.hint
    return caught.value


def test_runs_of_an_earlier_schema_are_refused_and_stay_as_they_are(finished, left, tmp_path):
    old, stopped = shutil.copytree(finished[0], tmp_path / "old"), left
    for run in (old, stopped):
        as_before_schema_2(run)
    before = {f: f.read_bytes() for run in (old, stopped) for f in run.rglob("*") if f.is_file()}
    refused("--replay", old, "--out", tmp_path / "new")
    refused("--resume", stopped)
    refused("--resume", stopped, "--time", "5m")
    assert {f: f.read_bytes() for run in (old, stopped) for f in run.rglob("*") if f.is_file()} == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["x", "--resume", "y"], ["--resume", "x", "--replay", "y"]], ids=["none", "both", "two"]
)
def test_one_of_data_resume_and_replay(arguments):
    hint = refused(*arguments).hint
    assert all(name in hint for name in ("DATA", "--resume", "--replay"))


def test_mnist_in_seconds(tmp_path, fresh_state):
    """A small version of `bench/mnist.py`: one seed, a fifth of the images, evaluated once."""
    data, whole = tmp_path / "data", unpack("mnist")
    data.mkdir()
    for side, count in (("train", 12_000), ("t10k", 2_000)):
        for name in (f"{side}-images-idx3-ubyte", f"{side}-labels-idx1-ubyte"):
            (data / name).write_bytes(idx(np.asarray(read_idx(str(whole / name)))[:count]))
    config = TrainConfig(strategy="scratch-seconds", seed=1)
    _, summary = flow.train(str(data), config, out=str(tmp_path / "run"))
    assert summary["test"]["n"] == 2_000 and summary["test_looks"] == 1
    assert summary["split"]["train"] + summary["split"]["val"] == 12_000
    assert summary["test"]["accuracy"] > 0.96
    assert summary["data"]["excluded"] == 0
