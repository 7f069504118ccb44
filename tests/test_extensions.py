"""What is added from outside the package trains, predicts and evaluates: no file of the package changes.

A strategy with its network, a task with its target and predictor, an output format. A backbone family is tried in
`models/test_families.py`, an engine in `engines/test_toy_engine.py`.
"""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from foveal import flow
from foveal.cli.main import app
from foveal.config import TrainConfig
from foveal.data.targets.labels import Labels
from foveal.data.targets.registry import register_target
from foveal.errors import BundleError, UnknownName, UsageError
from foveal.evaluation import headlines
from foveal.evaluation.classification import measure
from foveal.evaluation.report import register_template
from foveal.files import write_text
from foveal.inference.bundle import load_bundle
from foveal.inference.classifier import ClassificationPredictor
from foveal.inference.outputs.formats import register_format
from foveal.inference.outputs.output_format import OutputFormat
from foveal.inference.predictor import load_predictor, register_predictor
from foveal.metrics.calibration import softmax
from foveal.models.networks import register_architecture
from foveal.models.trained import TrainedModel
from foveal.tasks import Task, find_task, register_task
from foveal.training.candidate import Candidate
from foveal.training.routing import Route, choose_route
from foveal.training.strategies.registry import STRATEGIES, register_strategy
from foveal.values import Preprocess
from registered import restored_registries


@pytest.fixture(autouse=True)
def restored():
    with restored_registries():
        yield


@pytest.fixture(scope="module")
def folder(make_folder, tmp_path_factory):
    """Three classes that differ in colour; two of their names begin with the same letter."""
    return make_folder(tmp_path_factory.mktemp("images"), {"ant": 20, "ape": 20, "bee": 20}, size=(40, 32))


def command(*arguments):
    with pytest.raises(SystemExit) as ended:
        app([str(a) for a in arguments])
    return ended.value.code


def rows_of(run, subset):
    with (run / "split.csv").open(newline="") as handle:
        return [row for row in csv.DictReader(handle) if row["split"] == subset]


class NearestMean(nn.Module):
    """Logits are negative squared distances of an image, made 4 × 4, to the mean image of each class."""

    def __init__(self, classes):
        super().__init__()
        self.means = nn.Parameter(torch.zeros(classes, 3 * 16))

    def forward(self, x):
        seen = nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)
        return -torch.cdist(seen, self.means).square()


@dataclass(frozen=True)
class NearestMeanStrategy:
    """Fits `NearestMean` on the pixels of the training subset."""

    name: str = "nearest-mean"
    keep_unless_worse: bool = False
    continues: str | None = None

    def refuse(self, context, state):
        return None

    def estimate(self, context, state):
        return 0.5

    def fit(self, context, state):
        began, classes = context.clock.spent(), len(context.split.classes)
        preprocess = Preprocess(size=16, resize="squash")
        network = {"architecture": "nearest-mean", "classes": classes}
        module = NearestMean(classes)

        def inputs(subset):
            records = context.split.subset(subset)
            return torch.from_numpy(context.images.rendered(records, preprocess).astype(np.float32) - 127) / 128

        labels = torch.from_numpy(context.targets(context.split.subset("train")))
        with torch.no_grad():
            pooled = nn.functional.adaptive_avg_pool2d(inputs("train"), 4).flatten(1)
            module.means.copy_(torch.stack([pooled[labels == k].mean(0) for k in range(classes)]))
            logits = {subset: module(inputs(subset)).numpy() for subset in ("val", "test")}
        right = logits["val"].argmax(1) == context.targets(context.split.subset("val"))
        return Candidate(
            strategy=self.name,
            seconds=context.clock.spent() - began,
            score=float(right.mean()),
            score_ci95=None,
            score_n=len(right),
            trained=TrainedModel(
                {k: v.detach().numpy() for k, v in module.state_dict().items()}, preprocess, network=network
            ),
            logits=logits,
            seen={subset: context.split.subset(subset) for subset in ("train", "val", "test")},
            settings={"cells": 16},
        )


@pytest.fixture
def nearest_mean():
    register_architecture("nearest-mean", NearestMean)
    register_strategy(NearestMeanStrategy(), "pretrained")


def test_a_strategy_trains_predicts_evaluates_and_replays(nearest_mean, folder, tmp_path, capsys):
    run, again = tmp_path / "run", tmp_path / "again"
    assert command("train", folder, "--strategy", "nearest-mean", "--out", run, "--time", "9h", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["strategy"]["name"] == "nearest-mean" and summary["test"]["accuracy"] > 0.9
    assert command("predict", run, folder / "bee", "--out", tmp_path / "bees.csv") == 0
    with (tmp_path / "bees.csv").open(newline="") as handle:
        predicted = [row["label"] for row in csv.DictReader(handle)]
    assert len(predicted) == 20 and predicted.count("bee") >= 18
    assert find_task("classify").evaluate(run)["test"]["accuracy"] == summary["test"]["accuracy"]
    assert command("train", "--replay", run, "--out", again) == 0
    weights = "model/weights.safetensors"
    assert (again / weights).read_bytes() == (run / weights).read_bytes()


def test_a_strategy_takes_part_in_the_search(nearest_mean, folder, tmp_path):
    _, summary = flow.train(folder, TrainConfig(time="10m"), out=str(tmp_path / "run"))
    decisions = json.loads((tmp_path / "run" / "config.json").read_text())["decisions"]
    tried = [c["name"] for c in summary["strategy"]["candidates"]]
    assert tried[0] == "frozen" and decisions["nearest-mean/skip"]["reason"]
    assert ("nearest-mean" in tried) == (not decisions["nearest-mean/skip"]["value"])


def test_strategies_have_a_known_route_and_a_name_of_their_own(nearest_mean):
    with pytest.raises(ValueError, match="nowhere"):
        register_strategy(NearestMeanStrategy(), "nowhere")
    with pytest.raises(ValueError, match="nearest-mean"):
        register_strategy(NearestMeanStrategy(), "pretrained")


def test_what_is_not_registered_is_refused(nearest_mean, folder, tmp_path):
    """As where a bundle is used without the extension that it needs."""
    run, _ = flow.train(folder, TrainConfig(strategy="nearest-mean"), out=str(tmp_path / "run"))
    with restored_registries():
        register_architecture("nearest-mean", lambda classes, depth: NearestMean(classes))
        with pytest.raises(BundleError):
            list(load_predictor(run).stream([folder / "ant" / "000.jpg"]))
    STRATEGIES["pretrained"].pop()
    with pytest.raises(UnknownName):
        flow.train(folder, TrainConfig(strategy="nearest-mean"), out=str(tmp_path / "other"))


class Initials(Labels):
    """The first letter of the name of the class folder."""

    task = "initial"
    column = "initial"
    plural = "initials"
    item = "image with an initial"
    absent = "no_initial"

    def entry(self, path, annotation, root, split=None, group=None):
        return super().entry(path, annotation[:1], root, split, group)

    def complete(self, record, entry, *, max_pixels=0):
        return replace(record, label=Path(entry.path).parent.name[0])


class InitialPredictor:
    """Predicts the letter alone."""

    def __init__(self, bundle, *, precision, memory):
        self.bundle = bundle
        self._labels = ClassificationPredictor(bundle, precision=precision)

    def stream(self, images, *, topk=1):
        for prediction in self._labels.stream(images, topk=1):
            yield {"path": str(prediction.path), "initial": prediction.label, "error": prediction.error}


def _route(entries, config, decisions):
    route = choose_route(entries, config, decisions)
    return Route(route.strategies[:1], route.preprocess, route.backbone)  # the first strategy alone


def _measure(bundle, candidate, context):
    records = candidate.seen["test"]
    probabilities = softmax(candidate.logits_on("test"), bundle.manifest.temperature)
    measured = measure(
        probabilities, context.targets(records), [p.record.path for p in records], context.split.classes
    )
    return InitialsMeasured(measured.figures)


@dataclass(frozen=True)
class InitialsMeasured:
    """Figures with templates of their own."""

    figures: dict
    template: str = "initials"

    def shown(self):
        return {"letters": ["a<b"]}


def _evaluate(run, data=None, *, include_seen=False, progress=None):
    """On the run's own test subset."""
    rows = rows_of(Path(run), "test")
    predictions = load_predictor(run).stream([row["path"] for row in rows])
    right = [p["initial"] == Path(p["path"]).parent.name[0] for p in predictions]
    return {"test": {"n": len(right), "accuracy": sum(right) / len(right)}}


def _write_initials(predictions, target, options):
    lines = [f"{p['initial']} {Path(p['path']).name}" for p in predictions]
    write_text(target, "\n".join(lines) + "\n")
    return len(lines)


@pytest.fixture
def initial():
    register_target(Initials)
    register_task(
        Task(
            name="initial",
            route=_route,
            measure=_measure,
            evaluate=_evaluate,
            headline=headlines.headline_of_labels,
            lines=headlines.lines_of_labels,
        )
    )
    register_template("initials-figures.html.j2", "<p>{{ figures.n }} initials</p>")
    register_template("initials-panels.html.j2", "{% for each in letters %}<i>{{ each }}</i>{% endfor %}")
    register_predictor("initial", InitialPredictor)
    register_format(OutputFormat("initials", _write_initials, ("initial",), (".txt",), streams=False))


def test_a_task_trains_predicts_evaluates_and_replays(initial, folder, tmp_path, capsys):
    run = tmp_path / "run"
    assert command("train", folder, "--task", "initial", "--time", "9h", "--out", run, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["task"] == "initial" and summary["data"]["classes"] == ["a", "b"]
    assert summary["strategy"]["name"] == "frozen" and summary["test"]["accuracy"] > 0.9
    assert load_bundle(run).manifest.task == "initial"
    assert f"{summary['test']['n']} initials" in (run / "report.html").read_text()
    assert "<i>a&lt;b</i>" in (run / "report.html").read_text()
    assert json.loads((run / "audit.json").read_text())["task"] == "initial"
    assert command("predict", run, folder / "ape", "--out", tmp_path / "apes.txt") == 0
    lines = (tmp_path / "apes.txt").read_text().splitlines()
    assert len(lines) == 20 and sum(line.startswith("a ") for line in lines) >= 18
    capsys.readouterr()
    assert command("evaluate", run, "--json") == 0
    evaluated = json.loads(capsys.readouterr().out)["test"]
    assert evaluated["n"] == summary["test"]["n"]
    assert evaluated["accuracy"] == pytest.approx(summary["test"]["accuracy"])
    assert command("train", "--replay", run, "--out", tmp_path / "again") == 0
    weights = "model/weights.safetensors"
    assert (tmp_path / "again" / weights).read_bytes() == (run / weights).read_bytes()


def test_an_unknown_task_is_refused_before_anything_is_written(folder, tmp_path):
    with pytest.raises(UnknownName):
        flow.train(folder, TrainConfig(task="initial"), out=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def _write_markdown(predictions, target, options):
    lines = [f"| {Path(p.path).name} | {p.label} | {p.probability:.2f} |" for p in predictions]
    target.write_text("\n".join(lines) + "\n") if isinstance(target, Path) else target.write(
        "\n".join(lines) + "\n"
    )
    return len(lines)


@pytest.mark.parametrize("by", ["suffix", "name", "stdout"])
def test_an_output_format_is_chosen_by_suffix_or_name(by, trained, photos, tmp_path, capsys):
    register_format(OutputFormat("markdown", _write_markdown, suffixes=(".md",)))
    out = tmp_path / ("table.md" if by == "suffix" else "table")
    chosen = {
        "suffix": ["--out", out],
        "name": ["--format", "markdown", "--out", out],
        "stdout": ["--format", "markdown"],
    }
    assert command("predict", trained[0], photos / "bee", *chosen[by]) == 0
    text = capsys.readouterr().out if by == "stdout" else out.read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 40 and sum(row[1] == "bee" for row in rows) > 30
    with pytest.raises(UsageError) as caught:
        app(["predict", str(trained[0]), str(photos / "bee"), "--format", "markdwn"])
    assert "markdown" in caught.value.hint
