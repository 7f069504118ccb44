"""Fine-tuning a pretrained network: it learns, within the budget, and can be replayed to the same weights."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import runs
from fake_time import ManualClock
from foveal.clock import Clock, Deadline
from foveal.config import TrainConfig
from foveal.errors import UnknownName
from foveal.features import Extractor
from foveal.flow import replay, train
from foveal.inference.bundle import load_bundle
from foveal.inference.classifier import ClassificationPredictor
from foveal.models.backbones import find_backbone
from foveal.models.linear_head import LinearHead
from foveal.models.trained import TrainedModel
from foveal.training.candidate import Candidate
from foveal.training.compare import LabelEvidence
from foveal.training.recipes.finetune import CACHED, FULL
from foveal.training.strategies.finetune import ContinueFineTune, FineTune, with_lr
from foveal.training.strategies.image_size import SizeTrials
from foveal.training.strategies.registry import STRATEGIES
from foveal.training.strategy import LadderState
from foveal.training.time_budget import (
    Allotment,
)
from foveal.training.trainers.finetune import of_all_classes
from registered import restored_registries
from runs import CPU, placed
from toy_backbone import NAME as TOY
from toy_backbone import toy_backbone

pytestmark = pytest.mark.slow

#: The recipes with few steps.
_FEW = {"epochs": 2, "least_steps": 36, "batch_size": 8, "lr": 0.003, "sizes": (64,)}
SHORT = {
    "fine-tune": replace(FULL, **_FEW),
    "cached-trunk": replace(CACHED, **_FEW | {"least_steps": 60, "lr": 0.006, "views": 4}),
}
#: Enough to be right more often than never.
SHORTEST = {name: replace(recipe, least_steps=10, views=min(recipe.views, 2)) for name, recipe in SHORT.items()}


def draw_arrows(folder, each=24):
    """Left or right: a small arrow somewhere on noise, whose mirror image is one of the other class."""
    rng = np.random.default_rng(0)
    for label, direction in (("left", -1), ("right", 1)):
        (folder / label).mkdir(parents=True)
        for i in range(each):
            image = Image.fromarray(rng.integers(90, 170, (72, 72, 3), dtype=np.uint8))
            x, y, r = *rng.integers(24, 48, 2).tolist(), int(rng.integers(10, 18))
            corners = [(x + direction * r, y), (x - direction * r, y - r), (x - direction * r, y + r)]
            ImageDraw.Draw(image).polygon(corners, fill=tuple(rng.integers(0, 60, 3).tolist()))
            image.save(folder / label / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def arrows(tmp_path_factory):
    return draw_arrows(tmp_path_factory.mktemp("arrows"))


@pytest.fixture
def own_strategies():
    """Strategies of the test alone."""
    with restored_registries():
        yield


def same_weights(a, b):
    first, second = load_bundle(a).tensors, load_bundle(b).tensors
    return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("name", ["fine-tune", "cached-trunk"])
def test_a_finetuned_network_learns_and_predicts(name, arrows, tmp_path, own_strategies):
    STRATEGIES["pretrained"][:] = [FineTune(SHORT[name])]
    config, before = TrainConfig(strategy=name, time="10m"), sorted(arrows.rglob("*"))
    path, summary = train(arrows, config, out=str(tmp_path / "run"))
    assert sorted(arrows.rglob("*")) == before  # nothing is left in the user's folder
    assert summary["strategy"]["name"] == name and summary["model"]["name"] == "lite0"
    assert summary["model"]["input"] == [3, 64, 64]
    decisions = json.loads((path / "config.json").read_text())["decisions"]
    assert decisions["hflip"]["value"] is False  # the mirror image of an arrow points the other way
    assert decisions[f"{name}/steps"]["value"] >= 36 and f"{name}/memory" in decisions
    assert f"{name}/fallback" not in decisions  # it made all steps of its recipe
    files = sorted(str(f) for f in arrows.rglob("*.png"))
    predictions = list(ClassificationPredictor.load(path).stream(files))
    assert all(p.error is None and p.label in ("left", "right") for p in predictions)
    right = sum(p.label == Path(f).parent.name for p, f in zip(predictions, files, strict=True))
    assert right / len(files) > 0.75  # chance is 50 % with a standard deviation of 7: it did learn


@dataclass(frozen=True)
class AlwaysWrong:
    """A strategy whose model is wrong on every training image: whatever follows is better."""

    name: str = "always-wrong"
    keep_unless_worse: bool = False
    continues: str | None = None

    def refuse(self, context, state):
        return None

    def estimate(self, context, state):
        return 0.0

    def fit(self, context, state):
        backbone, train = context.features.backbone, context.split.subset("train")
        labels, classes = context.targets(train), len(context.split.classes)
        head = LinearHead(
            np.zeros((classes, backbone.dimension), dtype=np.float32), np.zeros(classes, dtype=np.float32)
        )
        wrong = -3 * np.eye(classes, dtype=np.float32)[labels]
        return Candidate(
            strategy=self.name,
            seconds=0.0,
            score=0.0,
            score_ci95=(0.0, 0.1),
            score_n=len(train),
            trained=TrainedModel.of_head(head, backbone.preprocess, backbone, ("plain",)),
            logits={
                s: np.zeros((len(context.split.subset(s)), classes), dtype=np.float32) for s in ("val", "test")
            },
            seen={s: context.split.subset(s) for s in ("train", "val", "test")},
            settings={},
            evidence=LabelEvidence.of(train, wrong, labels),
        )


@pytest.mark.parametrize("name", ["cached-trunk", "fine-tune"])
def test_a_better_model_continues_with_the_held_out_images_and_replays(name, arrows, tmp_path, own_strategies):
    STRATEGIES["pretrained"][:] = [AlwaysWrong(), FineTune(SHORTEST[name]), ContinueFineTune(SHORTEST[name])]
    with toy_backbone():
        continues_and_replays(name, arrows, tmp_path)


def continues_and_replays(name, arrows, tmp_path):
    path, summary = train(arrows, TrainConfig(time="10m", backbone=TOY), out=str(tmp_path / "run"))
    assert summary["strategy"]["name"] == f"{name}-all"
    decisions = json.loads((path / "config.json").read_text())["decisions"]
    assert decisions[f"{name}/keep"]["value"] is True and decisions[f"{name}/training_images"]["value"] == "inside"
    assert decisions[f"{name}-all/steps"]["value"] >= decisions[f"{name}/steps"]["value"] > 0
    used = [row["split"] for row in csv.DictReader((path / "split.csv").read_text().splitlines())]
    assert used.count("") == 0  # nothing is excluded for having been held out
    again, _ = replay(str(path), out=str(tmp_path / "again"))
    assert same_weights(path, again)


@pytest.mark.parametrize(("seconds", "share"), [(3.6, 1.0), (3.7, 0.45), (2000, 0.45), (float("inf"), 0.45)])
def test_the_first_part_has_all_the_time_where_too_few_steps_would_be_left(seconds, share):
    """Twenty steps of 0.1 s are eleven twentieths of 3.64 s."""
    assert Allotment(seconds, Deadline(Clock())).first_part(0.1).share == share


def context_of(*, train=40, val=60, test=500, made=()):
    """A run on images that are never read; `made` are decisions, by id."""
    made, backbone = {"device": CPU, "hflip": False, **dict(made)}, find_backbone()
    split = placed(train=train, val=val, test=test)
    return runs.context_of(split, made=made, extractor=Extractor(backbone, backbone.preprocess, None))


def seconds_of_the_second_part(**counts):
    """At one second for each prediction."""
    made = {"cached-trunk@96px/image_seconds": 0.02, "cached-trunk@96px/prediction_seconds": 1.0}
    context = context_of(made=made, **counts)
    first = Candidate(
        strategy="cached-trunk",
        seconds=1.0,
        score=None,
        score_ci95=None,
        score_n=0,
        trained=TrainedModel({}, context.preprocess),
        logits={},
        seen={"train": context.split.subset("train")[:30]},
        settings={},
        image_size=96,
        steps=30,
        pending_test_seconds=500.0,
    )
    return ContinueFineTune(CACHED).estimate(context, LadderState([first], first))


def test_predictions_for_the_test_subset_are_planned_for_once():
    """The first part has planned for them already; those for the validation subset come again."""
    seconds = seconds_of_the_second_part(val=60, test=500)
    assert seconds > 60 and seconds_of_the_second_part(val=60, test=5000) == seconds
    assert 60 <= seconds_of_the_second_part(val=120, test=500) - seconds <= 70


@pytest.mark.parametrize("count", [50, 3000, 3001, 9000])
def test_the_head_that_comes_first_sees_every_class(count):
    """Also one of which there is a single image, in any order."""
    labels = np.zeros(count, dtype=np.int64)
    labels[7] = 1
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(count)
        some = of_all_classes(order, labels)
        assert len(some) == min(count, 3000) == len(set(some.tolist()))
        assert 7 in some and set(some.tolist()) <= set(range(count))


def test_a_trial_costs_all_of_its_steps():
    """For few images that is forty steps of 32, not two epochs: at 10 ms an image 12.8 s, and what is around them."""
    context = context_of(made={"fine-tune@96px/image_seconds": 0.01, "fine-tune@96px/prediction_seconds": 0.5})
    trials = SizeTrials(FULL, context, context.split.subset("train"), context.split.subset("val")[:10])
    steps, predictions = 40 * 32 * 0.01, 10 * 0.5
    assert steps + predictions < trials.seconds(96) < 1.1 * (steps + predictions)


@pytest.mark.parametrize(("rejected", "lr"), [(set(), 0.006), ({"fine-tune"}, 0.006), ({"frozen-stages"}, 0.002)])
def test_images_like_those_of_the_pretraining_have_a_lower_learning_rate(rejected, lr):
    context = context_of()
    recipe = with_lr(FULL, context, LadderState(rejected=rejected))
    assert recipe.lr == pytest.approx(lr) and recipe == replace(FULL, lr=recipe.lr)
    assert context.decisions.made["fine-tune/learning_rate"]["value"] == recipe.lr
    for later in (LadderState(), LadderState(rejected={"frozen-stages"})):
        assert with_lr(FULL, context, later) == recipe  # the whole training has the learning rate of its trial


def test_an_unknown_augmentation_and_a_strategy_that_needs_another_are_refused(arrows, tmp_path):
    with pytest.raises(UnknownName, match="stong"):
        TrainConfig(augment="stong")
    with pytest.raises(UnknownName, match="fine-tune-all"):
        train(arrows, TrainConfig(strategy="fine-tune-all"), out=str(tmp_path / "run"))


class StoppedTrials(SizeTrials):
    """Three sizes, during the first of which the user presses Ctrl-C."""

    def __init__(self, context):
        self.context, self.recipe, self.outside, self.sizes = context, FULL, [1], []

    def affordable(self):
        return [96, 128, 160]

    def seconds(self, size):
        return 0.0

    def tried(self, size):
        self.sizes.append(size)
        self.context.clock.stop()
        return LabelEvidence({}, {})


def test_no_further_size_is_tried_once_the_user_asked_to_stop():
    trials = StoppedTrials(runs.context_of(clock=ManualClock(600)))
    size, reason = trials.choose()
    assert (size, trials.sizes) == (96, [96]) and "the user asked to stop" in reason


@pytest.mark.parametrize(("train", "reason"), [(40, "no time to validate frozen"), (2, "too few images")])
def test_a_model_without_a_score_is_refused_for_what_it_lacked(train, reason):
    context = context_of(train=train)
    trained = TrainedModel({}, context.preprocess)
    first = Candidate("frozen", 1.0, None, None, 0, trained, logits={}, seen={}, settings={})
    assert reason in FineTune(FULL).refuse(context, LadderState([first], first))
