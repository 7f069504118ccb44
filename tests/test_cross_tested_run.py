"""A run whose figures are of every image, by cross-validation."""

import json

import pytest

from foveal import flow
from foveal.config import TrainConfig
from foveal.evaluation.evaluate_classifier import evaluate_labels
from foveal.files import read_json


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """(folder, summary)."""
    out = str(tmp_path_factory.mktemp("cv") / "run")
    return flow.train(photos, TrainConfig(strategy="frozen", test="cv"), out=out)


def test_every_image_is_tested_and_the_test_subset_beside_it(run):
    folder, summary = run
    test = summary["test"]
    assert test["method"] == "cv" and test["n"] == sum(summary["split"].values()) == 120
    assert sum(map(sum, test["confusion"])) == 120 and test["fold_images"] == 108
    assert test["subset"]["n"] == summary["split"]["test"] and summary["refit"]["done"]
    assert test["selection"]["n"] == summary["split"]["train"] == 120 - test["selection"]["other_n"]
    narrow, wide = (b[1] - b[0] for b in (test["accuracy_ci95"], test["subset"]["accuracy_ci95"]))
    assert narrow < wide / 2
    assert evaluate_labels(folder)["test"]["accuracy"] == test["subset"]["accuracy"]
    assert json.dumps(summary["test"])  # plain values


def test_it_is_decided_once_and_repeated(run, tmp_path):
    assert read_json(run[0] / "config.json")["decisions"]["test"]["value"] == "cv"
    _, again = flow.replay(str(run[0]), out=str(tmp_path / "again"))
    assert again["test"] == run[1]["test"]
