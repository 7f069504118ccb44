"""A fine-tuning that is cut short is never much worse than the head that it began with, and is repeated bit for bit."""

import json
import shutil

import numpy as np
import pytest
from test_finetune import SHORT

from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.decisions import FALLBACK
from foveal.flow import replay, train
from foveal.inference.bundle import load_bundle
from foveal.training.compare import LabelEvidence
from foveal.training.starting_point import falls_back
from foveal.training.strategies.finetune import FineTune
from foveal.training.strategies.registry import STRATEGIES
from registered import restored_registries
from signed import change
from test_stopping import Stopper

pytestmark = pytest.mark.slow


def predictions(*wrong, n=40):
    labels = {str(i): i % 2 for i in range(n)}
    right = np.eye(2, dtype=np.float32)
    return LabelEvidence({i: right[1 - v if int(i) in wrong else v] for i, v in labels.items()}, labels)


@pytest.mark.parametrize(
    ("trained", "start", "enough", "complete", "expected"),
    [
        ((0, 1, 2, 3, 4, 5), (0,), True, True, True),  # clearly worse
        ((1, 2, 3), (0, 4), True, True, False),  # a little worse: chance, at the end of a schedule
        ((1, 2, 3), (0, 4), True, False, True),  # ... and reason enough when it was stopped
        ((0, 4), (1, 2, 3), True, False, False),
        ((0, 4), (1, 2, 3), False, True, True),  # a little better: chance, where few steps were made
        ((0,), tuple(range(10)), False, False, False),
    ],
)
def test_the_fewer_steps_the_more_evidence_is_needed(trained, start, enough, complete, expected):
    found, reason = falls_back(predictions(*trained), predictions(*start), enough=enough, complete=complete)
    assert found is expected and reason


@pytest.mark.parametrize("enough", [True, False])
def test_without_images_to_tell_by_the_number_of_steps_decides(enough):
    assert falls_back(predictions(n=0), predictions(n=0), enough=enough, complete=False)[0] is not enough


@pytest.fixture(scope="module", params=["fine-tune", "cached-trunk"])
def stopped(request, photos, tmp_path_factory):
    """(name, run, summary) of a training that a user stopped after its first step."""
    name, out = request.param, tmp_path_factory.mktemp("stopped") / "run"
    with restored_registries():
        STRATEGIES["pretrained"][:] = [FineTune(SHORT[name])]
        clock = Clock(600)
        config = TrainConfig(strategy=name)
        run, summary = train(photos, config, out=str(out), clock=clock, progress=Stopper(clock, name, 1))
        yield name, run, summary


def decisions_of(run):
    return json.loads((run / "config.json").read_text())["decisions"]


def correct(summary):
    """Of the test subset."""
    return round(summary["test"]["accuracy"] * summary["test"]["n"])


def test_stopped_after_one_step_the_model_is_no_worse_than_the_head_before_it(stopped, tmp_path):
    name, run, summary = stopped
    assert summary["status"] == "interrupted" and summary["strategy"]["name"] == name
    assert decisions_of(run)[f"{name}/stopped_at"]["value"] == 1
    assert correct(summary) >= summary["test"]["n"] - 1  # the colour gives the class away
    again, _ = replay(str(run), out=str(tmp_path / "again"))
    assert same_weights(run, again)


def test_a_schedule_of_a_few_steps_is_no_worse_than_the_head_before_it(stopped, tmp_path):
    """Its first steps have the highest learning rate; a replay is told how many there are."""
    name, run, _ = stopped
    given = with_steps(run, name, {"fine-tune": 1, "cached-trunk": 7}[name], tmp_path / "given")
    path, summary = replay(str(given), out=str(tmp_path / "run"))
    decision = decisions_of(path)[FALLBACK.of(name).id]
    assert decision["value"] is True and decision["reason"]
    assert correct(summary) >= summary["test"]["n"] - 1
    shutil.copy(path / "config.json", given / "config.json")
    again, _ = replay(str(given), out=str(tmp_path / "again"))
    assert same_weights(path, again)


def with_steps(run, name, steps, folder):
    """A copy of a run whose training was planned with so many steps, and was not stopped."""
    shutil.copytree(run, folder)

    def edit(config):
        config["decisions"][f"{name}/steps"]["value"] = steps
        for gone in (f"{name}/stopped_at", FALLBACK.of(name).id, "strategy", "settings"):
            config["decisions"].pop(gone, None)

    change(folder, edit, "config.json")
    return folder


def same_weights(a, b):
    first, second = load_bundle(a).tensors, load_bundle(b).tensors
    return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)
