"""Any network is trained through `foveal train --from-scratch MODEL`."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import torchvision
from PIL import Image
from safetensors.numpy import load_file

from foveal import ImageClassifier, load, plan
from foveal.cli.main import app
from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.errors import BundleError, Interrupted, UnknownName, UsageError
from foveal.evaluation.evaluate_classifier import evaluate_labels
from foveal.files import read_json
from foveal.flow import replay, resume, train
from foveal.inference.classifier import ClassificationPredictor
from scratch_context import AtEachStep

SKETCH = "conv8k5valid-relu-pool2-conv16-bn-relu-pool2-flatten-dense16-relu-drop0.2-dense2"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    """Grey images of 32 × 32 pixels with a bright bar, horizontal or vertical."""
    folder, generator = tmp_path_factory.mktemp("bars"), np.random.default_rng(0)
    for label in ("horizontal", "vertical"):
        (folder / label).mkdir()
        for i in range(40):
            grey = generator.integers(0, 60, (32, 32), dtype=np.uint8)
            at = int(generator.integers(6, 24))
            grey[
                (slice(at, at + 3), slice(4, 28)) if label == "horizontal" else (slice(4, 28), slice(at, at + 3))
            ] = 230
            Image.fromarray(grey).save(folder / label / f"{i}.png")
    return folder


def test_lenet5_is_trained_and_loaded_from_its_bundle(bars, tmp_path):
    config = TrainConfig(from_scratch="lenet5", time="5m", unknown_rate=0.2)
    path, summary = train(bars, config, out=str(tmp_path / "run"))
    assert summary["model"]["name"] == "lenet5" and summary["model"]["input"] == [1, 32, 32]
    assert summary["strategy"]["name"] == "from-scratch-lenet5"
    assert summary["test"]["accuracy"] > 0.8
    files = sorted(str(f) for f in bars.rglob("*.png"))
    labels = [p.label for p in ClassificationPredictor.load(path).stream(files)]
    assert np.mean([label in file for label, file in zip(labels, files, strict=True)]) > 0.8
    found = summary["unknown"]  # of a network there are no features, and it has learned all classes
    assert (found["score"], found["trial"], found["images"]) == ("entropy", [], summary["split"]["val"])
    answers = list(ClassificationPredictor.load(path).stream(files))
    assert all(a.unknown == (a.p_value <= 0.2) for a in answers) and np.mean([a.unknown for a in answers]) < 0.5


def test_an_unknown_architecture_suggests_the_nearest_and_leaves_nothing(bars, tmp_path):
    with pytest.raises(UnknownName, match="lennet5") as refused:
        train(bars, TrainConfig(from_scratch="lennet5"), out=str(tmp_path / "run"))
    assert "lenet5" in str(refused.value.hint)
    assert not (tmp_path / "run").exists()


def test_an_architecture_and_a_strategy_exclude_each_other():
    with pytest.raises(UsageError) as refused:
        TrainConfig(from_scratch="lenet5", strategy="frozen")
    assert "--from-scratch" in str(refused.value) and "--strategy" in str(refused.value) and refused.value.hint


def weights(run):
    return {k: v.tobytes() for k, v in load_file(run / "model" / "weights.safetensors").items()}


@pytest.fixture(scope="module")
def sketched(bars, tmp_path_factory):
    """(folder, summary) of a run that trained a sketch, undisturbed."""
    return train(
        bars, TrainConfig(from_scratch=SKETCH, time="10m"), out=str(tmp_path_factory.mktemp("runs") / "run")
    )


def test_a_sketch_is_trained_predicts_and_is_evaluated(sketched, bars, tmp_path):
    run, summary = sketched
    assert summary["strategy"]["name"] == "from-scratch-sketch" and summary["test"]["accuracy"] > 0.8
    assert summary["model"]["input"] == [1, 32, 32]
    planned = plan(SKETCH, input=(1, 32, 32))
    assert summary["model"]["parameters"] == planned.parameters == plan(run).parameters
    assert evaluate_labels(run)["test"]["accuracy"] == summary["test"]["accuracy"]
    with pytest.raises(SystemExit) as ended:
        app(["predict", str(run), str(bars / "vertical"), "--out", str(tmp_path / "vertical.csv")])
    assert not ended.value.code
    with (tmp_path / "vertical.csv").open(newline="") as handle:
        assert np.mean([row["label"] == "vertical" for row in csv.DictReader(handle)]) > 0.8


def test_the_run_says_what_input_was_chosen(sketched):
    run, _ = sketched
    said = [json.loads(line).get("text", "") for line in (run / "log.jsonl").read_text().splitlines()]
    assert any("1 × 32 × 32" in text for text in said)
    route = read_json(run / "config.json")["decisions"]["route"]
    assert "1 × 32 × 32" in route["reason"] and f"{plan(run).parameters:,}" in route["reason"]


def test_a_sketch_is_replayed_to_the_same_weights(sketched, tmp_path):
    again, _ = replay(str(sketched[0]), out=str(tmp_path / "again"))
    assert weights(again) == weights(sketched[0])


def test_a_stopped_training_of_a_sketch_is_resumed_to_the_same_weights(sketched, bars, tmp_path):
    clock, run = Clock(600.0), tmp_path / "run"
    with pytest.raises(Interrupted):
        leaving = AtEachStep("-0", clock.request_exit)
        config = TrainConfig(from_scratch=SKETCH, time="10m")
        train(bars, config, out=str(run), clock=clock, progress=leaving)
    assert list(run.glob("checkpoints/*/last-*.safetensors")) and not (run / "summary.json").exists()
    resume(str(run))
    assert weights(run) == weights(sketched[0])


def test_the_architecture_of_a_run_is_trained_anew(sketched, bars, tmp_path):
    clock = Clock()
    config = TrainConfig(from_scratch=str(sketched[0]), seed=1)
    run, summary = train(
        bars, config, out=str(tmp_path / "run"), clock=clock, progress=AtEachStep("-0", clock.stop)
    )
    assert summary["model"]["network"] == sketched[1]["model"]["network"]
    assert weights(run).keys() == weights(sketched[0]).keys() and weights(run) != weights(sketched[0])


def test_a_network_of_torchvision_has_the_names_and_shapes_of_torchvision(bars, tmp_path):
    clock = Clock()
    stopping = AtEachStep("-0", clock.stop)
    config = TrainConfig(from_scratch="torchvision:resnet18")
    run, summary = train(bars, config, out=str(tmp_path / "run"), clock=clock, progress=stopping)
    expected = torchvision.models.resnet18(num_classes=2)
    stored = load_file(run / "model" / "weights.safetensors")
    assert {k: v.shape for k, v in stored.items()} == {k: tuple(v.shape) for k, v in expected.state_dict().items()}
    assert summary["model"]["parameters"] == sum(p.numel() for p in expected.parameters())
    assert summary["model"]["name"] == "resnet18" and summary["model"]["input"] == [3, 64, 64]


def test_the_estimator_takes_the_same(bars, tmp_path):
    model = ImageClassifier(from_scratch=SKETCH, time="5m", out=tmp_path / "run").fit(bars)
    files = sorted(map(str, bars.rglob("*.png")))
    with pytest.warns(UserWarning, match="were trained on"):
        assert model.score(bars) > 0.8
    assert (load(tmp_path / "run").predict(files) == model.predict(files)).all()


FUNCTION = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(4 * 7 * 7, 2))
"""


def test_a_function_is_needed_where_its_network_predicts(bars, tmp_path, monkeypatch):
    """No pickle: a bundle names the function, and has weights."""
    home, elsewhere, run = tmp_path / "home", tmp_path / "elsewhere", tmp_path / "run"
    home.mkdir()
    elsewhere.mkdir()
    (home / "network_of_mine.py").write_text(FUNCTION)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.chdir(home)
    config = TrainConfig(from_scratch="network_of_mine:make", time="10m")
    _, summary = train(bars, config, out=str(run))
    assert summary["test"]["accuracy"] > 0.8 and summary["strategy"]["name"] == "from-scratch-network_of_mine-make"
    assert {f.suffix for f in (run / "model").iterdir()} == {".json", ".safetensors"}
    again, _ = replay(str(run), out=str(tmp_path / "again"))
    assert weights(again) == weights(run)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(home)])
    sys.modules.pop("network_of_mine")
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "cache"))  # without what was converted from the network
    with pytest.raises(BundleError, match="network_of_mine:make"):
        load(run).predict(str(bars))
    failed = subprocess.run(
        [sys.executable, "-m", "foveal", "predict", str(run), str(bars / "vertical")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 2 and "network_of_mine:make" in failed.stderr and "hint:" in failed.stderr
