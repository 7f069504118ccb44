"""A run that is told to stop, or that runs out of time, keeps what it has and names what it did not reach."""

import csv
import json
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image, ImageOps

from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.errors import DataError, Interrupted
from foveal.flow import train
from foveal.inference.bundle import load_bundle
from foveal.inference.classifier import ClassificationPredictor
from foveal.progress import Progress
from foveal.values import SUBSETS


class Stopper(Progress):
    """Stops the clock, as Ctrl-C does, once so many images of a stage are done."""

    def __init__(self, clock, stage, after):
        self._clock, self._stage, self._after = clock, stage, after

    @contextmanager
    def stage(self, name, total=0, **about):
        yield _Counting(self._clock, self._after if name == self._stage else 10**9)


class _Counting:
    def __init__(self, clock, after):
        self._clock, self._left = clock, after

    def total(self, count):
        if self._left <= 0:
            self._clock.stop()

    def tell(self, **figures):
        pass

    def __call__(self, done):
        self._left -= done
        if self._left <= 0:
            self._clock.stop()


def stopped(data, out, stage, after, **settings):
    clock = Clock(600)
    return train(data, TrainConfig(**settings), out=str(out), clock=clock, progress=Stopper(clock, stage, after))


def test_stopped_during_features_it_finishes_with_a_fair_part(photos, trained, tmp_path):
    run, summary = stopped(photos, tmp_path / "run", "features", 60, cache=False)
    assert summary["status"] == "interrupted" == json.loads((run / "summary.json").read_text())["status"]
    data, split = summary["data"], summary["split"]
    assert 60 <= data["used"] < 120 == data["images"] == data["used"] + data["excluded"]
    assert sum(split.values()) == data["used"] and summary["test"]["n"] == split["test"]
    assert all(0 < split[s] <= trained[1]["split"][s] for s in SUBSETS)
    with (run / "split.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    unreached = [r for r in rows if r["note"].startswith("no_time")]
    assert len(rows) == 120 and len(unreached) == data["excluded"]
    assert all(r["split"] == "" and r["sha256"] for r in unreached)
    assert load_bundle(run).manifest.provenance["trained_on"] == split["train"]
    assert "interrupted" in (run / "report.html").read_text()


def test_stopped_before_anything_usable_it_says_so_with_130(tmp_path, make_folder):
    """There are more classes than images were reached."""
    folder = make_folder(tmp_path / "data", {f"c{i:03d}": 2 for i in range(160)}, size=(40, 32))
    with pytest.raises(Interrupted) as caught:
        stopped(folder, tmp_path / "run", "features", 1, cache=False)
    assert caught.value.exit_code == 130
    assert not (tmp_path / "run" / "summary.json").exists() and not (tmp_path / "run" / "model").exists()


def test_stopped_while_reading_before_the_first_image_is_an_interruption_too(photos, tmp_path):
    """And no error of the data: the user pressed Ctrl-C."""
    with pytest.raises(Interrupted):
        stopped(photos, tmp_path / "run", "read and audit", 0)


def test_no_time_to_read_the_images_is_an_error_that_names_the_time(photos, tmp_path):
    with pytest.raises(DataError) as caught:
        train(photos, out=str(tmp_path / "run"), clock=Clock(budget=1e-9))
    assert "--time" in caught.value.hint


def test_stopped_after_the_first_strategy_it_keeps_its_model(photos, tmp_path):
    run, summary = stopped(photos, tmp_path / "run", "fit", 1)
    assert summary["status"] == "interrupted" and summary["data"]["used"] == 120
    assert [c["name"] for c in summary["strategy"]["candidates"]] == ["frozen"]
    decisions = json.loads((run / "config.json").read_text())["decisions"]
    assert decisions["frozen-stages/skip"]["value"] and summary["strategy"]["reason"]
    assert load_bundle(run).manifest.views == ("plain",)


class Crash(Progress):
    """Ends the process, as a second Ctrl-C does, when a stage begins."""

    def __init__(self, stage):
        self._stage = stage

    @contextmanager
    def stage(self, name, total=0, **about):
        if name == self._stage:
            raise KeyboardInterrupt
        with super().stage(name, total, **about) as bar:
            yield bar


def test_a_crash_after_the_first_strategy_leaves_a_usable_model(photos, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(photos, out=str(tmp_path / "run"), progress=Crash("evaluate"))
    assert not (tmp_path / "run" / "summary.json").exists()
    predictor = ClassificationPredictor.load(tmp_path / "run")
    validated = predictor.bundle.manifest.provenance["validation"]
    assert validated["n"] > 5 and validated["accuracy"] > 0.8
    prediction = next(iter(predictor.stream([photos / "bee" / "000.jpg"])))
    assert prediction.error is None and prediction.label in ("ant", "bee", "cat")


def test_a_model_of_two_views_predicts_the_same_for_the_mirror_image(photos, trained, tmp_path):
    """It averages an image and its mirror image."""
    run, summary = train(photos, TrainConfig(strategy="frozen-views", test="subset"), out=str(tmp_path / "run"))
    assert summary["model"]["views"] == ["plain", "mirror"] and summary["strategy"]["name"] == "frozen-views"
    # A square of the network's own size: its mirror image is exact.
    images = [Image.open(f).convert("RGB").resize((224, 224)) for f in sorted((photos / "ant").iterdir())[:6]]
    mirrored = [ImageOps.mirror(image) for image in images]

    def difference(model: ClassificationPredictor) -> float:
        """In log-probabilities: a confident head hides differences in the probabilities."""
        return float(np.abs(np.log(model.probabilities(images)) - np.log(model.probabilities(mirrored))).max())

    assert difference(ClassificationPredictor.load(run)) < 0.01
    assert difference(ClassificationPredictor.load(trained[0])) > 0.1


def test_trained_from_within_its_own_data_earlier_runs_are_not_read_as_a_class(
    photos, trained, tmp_path, monkeypatch
):
    shutil.copytree(photos, tmp_path / "photos")
    shutil.copytree(trained[0], tmp_path / "photos" / "runs" / "earlier")
    monkeypatch.chdir(tmp_path / "photos")
    run, summary = train(".")
    assert run.parts[0] == "runs" and summary["data"]["classes"] == ["ant", "bee", "cat"]
    assert summary["data"]["used"] == 120
