"""Once a run's model was measured, it is fitted on all images, and that one is delivered; the other is kept."""

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

from foveal import ImageClassifier, flow, load
from foveal.cli.train import summary_lines
from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.errors import Interrupted
from foveal.evaluation.evaluate_classifier import evaluate_labels
from foveal.files import read_json
from foveal.inference.bundle import load_bundle
from foveal.models.shipped import latest_run
from foveal.progress import Progress
from signed import change

SETTINGS = TrainConfig(strategy="frozen", time="10m", test="subset")


@pytest.fixture(scope="module")
def refitted(photos, tmp_path_factory):
    """(folder, summary) of a run of one strategy."""
    return flow.train(photos, SETTINGS, out=str(tmp_path_factory.mktemp("refit") / "run"))


@pytest.fixture(scope="module")
def kept(photos, tmp_path_factory):
    """The same with `--no-refit`."""
    config = TrainConfig(strategy="frozen", time="10m", test="subset", refit=False)
    return flow.train(photos, config, out=str(tmp_path_factory.mktemp("kept") / "run"))


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


def assert_same_models(run, other):
    """The delivered one and the measured one, bit for bit."""
    for name in ("model", "measured"):
        assert weights(run / name) == weights(other / name)
        one, two = (load_bundle(r / name).manifest for r in (run, other))
        assert (one.temperature, one.set_threshold) == (two.temperature, two.set_threshold)
    assert {f.name for f in run.iterdir()} == {f.name for f in other.iterdir()}


class At(Progress):
    """Does something when a stage begins."""

    def __init__(self, stage, act):
        self._stage, self._act = stage, act

    @contextmanager
    def stage(self, name, total=0, **about):
        if name == self._stage:
            self._act()
        with super().stage(name, total, **about) as bar:
            yield bar


def crash():
    raise KeyboardInterrupt


def test_the_refitted_model_is_delivered_and_the_measured_one_kept(refitted, kept, photos):
    run, summary = refitted
    assert summary["refit"]["done"] and summary["refit"]["images"] == sum(summary["split"].values()) == 120
    delivered, measured = load_bundle(run), load_bundle(run / "measured")
    assert (delivered.tensors["head.weight"] != measured.tensors["head.weight"]).any()
    assert delivered.manifest.measured_before_refit and not measured.manifest.measured_before_refit
    assert delivered.manifest.provenance["trained_on"] == 120
    assert delivered.manifest.provenance["validation"]["n"] == 120  # each by a head that was fitted without it
    assert delivered.manifest.provenance["measured_weights_sha256"] == measured.manifest.weights_sha256
    assert measured.manifest.provenance["trained_on"] == summary["split"]["train"]
    assert weights(run / "measured") == weights(kept[0] / "model")
    for name in ("classes", "views", "preprocess", "backbone_sha256"):
        assert getattr(delivered.manifest, name) == getattr(measured.manifest, name)
    file = next(photos.rglob("*.jpg"))
    assert (load(run).predict_proba(file) != load(run / "measured").predict_proba(file)).any()


def test_the_figures_are_those_of_the_measured_model(refitted, kept):
    run, summary = refitted
    assert summary["test"] == kept[1]["test"]
    command = [sys.executable, "-m", "foveal", "evaluate", str(run), "--json"]
    printed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert printed["test"]["accuracy"] == summary["test"]["accuracy"]
    assert printed["test"]["n"] == summary["split"]["test"]
    assert any("120 images" in line for line in summary_lines(run, summary) if line.startswith("model"))
    assert "refitted on all 120 images" in (run / "report.html").read_text()


def test_no_refit_delivers_the_measured_model(kept):
    run, summary = kept
    assert not summary["refit"]["done"] and summary["refit"]["reason"] == "--no-refit"
    assert summary["refit"]["images"] == summary["split"]["train"]
    assert not (run / "measured").exists() and not load_bundle(run).manifest.measured_before_refit
    assert not any("refitted" in line for line in summary_lines(run, summary))


def test_the_delivered_model_can_be_copied_without_its_run(refitted, photos, tmp_path):
    shutil.copytree(refitted[0] / "model", tmp_path / "elsewhere")
    file = next(photos.rglob("*.jpg"))
    assert (load(tmp_path / "elsewhere").predict_proba(file) == load(refitted[0]).predict_proba(file)).all()
    assert latest_run(refitted[0].parent) == refitted[0]


def test_both_are_repeated_bit_for_bit(refitted, kept, tmp_path):
    again, summary = flow.replay(str(refitted[0]), out=str(tmp_path / "again"))
    assert_same_models(again, refitted[0])
    assert summary["refit"]["done"] and summary["test"] == refitted[1]["test"]
    other, summary = flow.replay(str(kept[0]), out=str(tmp_path / "other"))
    assert weights(other / "model") == weights(kept[0] / "model") and not summary["refit"]["done"]


@pytest.mark.parametrize("moment", ["before", "while it is moved", "after"])
def test_killed_between_the_measurement_and_the_end_it_is_resumed_to_the_same(photos, refitted, tmp_path, moment):
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        flow.train(photos, SETTINGS, out=str(run), progress=At("report" if moment == "after" else "refit", crash))
    if moment == "while it is moved":
        (run / "model").rename(run / "measured")
        (run / ".model.part").mkdir()
        (run / ".model.part" / "weights.safetensors").write_bytes(b"half")
    delivered = "model" if moment == "after" else "measured"
    assert load_bundle(run).tensors.keys() == {"head.weight", "head.bias"}  # usable all the time
    expected = refitted[0] / delivered
    assert load_bundle(run).manifest.weights_sha256 == load_bundle(expected).manifest.weights_sha256
    assert not (run / "summary.json").exists()
    _, summary = flow.resume(str(run))
    assert summary["refit"]["done"]
    assert_same_models(run, refitted[0])


def test_told_to_leave_before_the_refit_nothing_is_decided(photos, refitted, tmp_path):
    run, clock = tmp_path / "run", Clock(600)
    with pytest.raises(Interrupted):
        flow.train(photos, SETTINGS, out=str(run), clock=clock, progress=At("evaluate", clock.request_exit))
    assert "refit" not in read_json(run / "config.json")["decisions"]
    flow.resume(str(run))
    assert_same_models(run, refitted[0])


def _out_of_time(clock):
    clock.budget = clock.spent()


@pytest.mark.parametrize("how", [Clock.stop, _out_of_time], ids=["Ctrl-C", "no time"])
def test_stopped_before_the_refit_the_measured_model_is_delivered(photos, kept, tmp_path, how):
    clock = Clock(600)
    progress = At("evaluate", lambda: how(clock))
    run, summary = flow.train(photos, SETTINGS, out=str(tmp_path / "run"), clock=clock, progress=progress)
    assert not summary["refit"]["done"] and summary["refit"]["reason"]
    assert summary["refit"]["reason"] == read_json(run / "config.json")["decisions"]["refit"]["value"]
    assert weights(run / "model") == weights(kept[0] / "model") and not (run / "measured").exists()
    again, repeated = flow.replay(str(run), out=str(tmp_path / "again"))  # there is time now, but it was decided
    assert not repeated["refit"]["done"] and weights(again / "model") == weights(run / "model")


def test_without_a_test_subset_the_validation_images_are_learned_as_well(photos, tmp_path):
    config = TrainConfig(strategy="frozen", test=False)
    run, summary = flow.train(photos, config, out=str(tmp_path / "run"))
    split = summary["split"]
    assert split["test"] == 0 < split["val"] and summary["refit"]["done"]
    assert summary["refit"]["images"] == split["train"] + split["val"] == 120
    assert load_bundle(run).manifest.provenance["validation"]["n"] == 120


def test_with_too_few_images_to_calibrate_by_the_measured_model_is_delivered(tmp_path, make_folder):
    data = make_folder(tmp_path / "data", {"ant": 12, "bee": 1})
    _, summary = flow.train(data, SETTINGS, out=str(tmp_path / "run"))
    assert not summary["refit"]["done"] and summary["refit"]["reason"]


def test_the_estimator_delivers_what_it_is_asked_for(refitted, kept, photos, tmp_path):
    files = sorted(photos.rglob("*.*"))
    labels = [f.parent.name for f in files]
    for refit, (run, summary) in ((True, refitted), (False, kept)):
        out = tmp_path / f"refit {refit}"
        model = ImageClassifier(strategy="frozen", refit=refit, test="subset", out=out).fit(files, labels)
        assert (model.predict_proba(files[:9]) == load(run).predict_proba(files[:9])).all()
        assert model.summary_["refit"]["done"] is refit
        assert model.evaluate()["test"]["accuracy"] == model.summary_["test"]["accuracy"]
        assert model.evaluate()["test"]["accuracy"] == summary["test"]["accuracy"]
    numbers = ImageClassifier(strategy="frozen", test="subset", out=tmp_path / "n").fit(
        files, [len(x) + ord(x[0]) for x in labels]
    )
    assert numbers.predict(files[:1]).dtype.kind == "i"
    assert load(numbers.run_).predict(files[:1])[0] == numbers.predict(files[:1])[0]
    assert numbers.evaluate()["test"]["accuracy"] == numbers.summary_["test"]["accuracy"]


def test_a_bundle_from_before_there_was_a_refit_is_read(kept, tmp_path):
    shutil.copytree(kept[0] / "model", tmp_path / "old")
    change(tmp_path / "old", lambda values: values.pop("measured_before_refit"))
    assert load_bundle(tmp_path / "old").manifest == load_bundle(kept[0]).manifest
    run = shutil.copytree(kept[0], tmp_path / "run")
    shutil.rmtree(run / "model")
    shutil.copytree(tmp_path / "old", run / "model")
    assert evaluate_labels(run)["test"]["accuracy"] == kept[1]["test"]["accuracy"]
