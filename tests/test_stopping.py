"""A run that is told to stop, or that runs out of time, keeps what it has, and says what it has not."""

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
from foveal.progress import Progress
from foveal.ship import Predictor, load_bundle
from foveal.values import SIDES


class Stopper(Progress):
    """Says stop, as Ctrl-C does, once so many pictures of a stage are done."""

    def __init__(self, clock, stage, after):
        self._clock, self._stage, self._after = clock, stage, after

    @contextmanager
    def stage(self, name, total=0):
        yield _Counting(self._clock, self._after if name == self._stage else 10**9)


class _Counting:
    def __init__(self, clock, after):
        self._clock, self._left = clock, after

    def total(self, count):
        if self._left <= 0:
            self._clock.stop()

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
    assert all(0 < split[side] <= trained[1]["split"][side] for side in SIDES)
    with (run / "split.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    unreached = [r for r in rows if r["note"].startswith("no_time")]
    assert len(rows) == 120 and len(unreached) == data["excluded"]
    assert all(r["split"] == "" and r["sha256"] for r in unreached)
    assert load_bundle(run).manifest.provenance["trained_on"] == split["train"]
    assert "interrupted" in (run / "report.html").read_text()


def test_stopped_before_anything_usable_it_says_so_with_130(tmp_path, make_folder):
    """More classes than a few batches can show: nothing could be learned."""
    folder = make_folder(tmp_path / "data", {f"c{i:03d}": 2 for i in range(160)}, size=(40, 32))
    with pytest.raises(Interrupted) as caught:
        stopped(folder, tmp_path / "run", "features", 1, cache=False)
    assert caught.value.exit_code == 130
    assert not (tmp_path / "run" / "summary.json").exists() and not (tmp_path / "run" / "model").exists()


def test_stopped_while_reading_before_the_first_picture_is_an_interruption_too(photos, tmp_path):
    """Not "two classes are needed": the person pressed Ctrl-C, the data are all right."""
    with pytest.raises(Interrupted):
        stopped(photos, tmp_path / "run", "read and audit", 0)


def test_no_time_to_read_is_laid_to_the_time_not_to_the_data(photos, tmp_path):
    with pytest.raises(DataError) as caught:
        train(photos, out=str(tmp_path / "run"), clock=Clock(budget=1e-9))
    assert "--time" in caught.value.hint


def test_stopped_after_the_first_rung_it_keeps_the_first_rung(photos, tmp_path):
    run, summary = stopped(photos, tmp_path / "run", "fit", 1)
    assert summary["status"] == "interrupted" and summary["data"]["used"] == 120
    assert [c["name"] for c in summary["strategy"]["candidates"]] == ["frozen"]
    assert "stop" in summary["strategy"]["reason"]
    assert load_bundle(run).manifest.views == ("plain",)


def test_a_fall_after_the_first_rung_leaves_a_usable_model(photos, tmp_path, monkeypatch):
    def fall(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("foveal.flow.look", fall)
    with pytest.raises(KeyboardInterrupt):
        train(photos, out=str(tmp_path / "run"))
    assert not (tmp_path / "run" / "summary.json").exists()
    predictor = Predictor.load(tmp_path / "run")
    validated = predictor.bundle.manifest.provenance["validation"]
    assert validated["n"] > 5 and validated["accuracy"] > 0.8
    answer = next(iter(predictor.stream([photos / "bee" / "000.jpg"])))
    assert answer.error is None and answer.label in ("ant", "bee", "cat")


def test_two_views_answer_the_mirror_image_alike(photos, trained, tmp_path):
    """A bundle of picture and mirror image must not care which of the two it is shown."""
    run, summary = train(photos, TrainConfig(strategy="frozen-views"), out=str(tmp_path / "run"))
    assert summary["model"]["views"] == ["plain", "mirror"] and summary["strategy"]["name"] == "frozen-views"
    # A square of the network's own size: its mirror image is exact.
    pictures = [Image.open(f).convert("RGB").resize((224, 224)) for f in sorted((photos / "ant").iterdir())[:6]]
    turned = [ImageOps.mirror(p) for p in pictures]

    def apart(model: Predictor) -> float:
        """In log-probabilities: a head that is sure of itself hides differences in the probabilities."""
        return float(np.abs(np.log(model.probabilities(pictures)) - np.log(model.probabilities(turned))).max())

    assert apart(Predictor.load(run)) < 0.01 < 0.1 < apart(Predictor.load(trained[0]))


def test_trained_from_within_its_own_data_it_does_not_take_its_runs_for_a_class(
    photos, trained, tmp_path, monkeypatch
):
    shutil.copytree(photos, tmp_path / "photos")
    shutil.copytree(trained[0], tmp_path / "photos" / "runs" / "earlier")
    monkeypatch.chdir(tmp_path / "photos")
    run, summary = train(".")
    assert run.parts[0] == "runs" and summary["data"]["classes"] == ["ant", "bee", "cat"]
    assert summary["data"]["used"] == 120
