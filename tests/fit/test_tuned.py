"""Tuning a pretrained network: it learns what frozen features do not show, by the clock, and can be repeated."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.errors import UnknownName
from foveal.fit import ladder, routes
from foveal.fit.augment import STRENGTHS, Augment, augmented
from foveal.fit.checkpoints import Checkpoints
from foveal.fit.job import Job, Settings
from foveal.fit.loop import train_network
from foveal.fit.schedule import Schedule
from foveal.fit.strategies import frozen, tuned
from foveal.fit.tunings import CACHED, FULL
from foveal.flow import replay, train
from foveal.progress import Progress
from foveal.ship.bundle import load_bundle
from foveal.ship.predictor import Predictor
from foveal.values import Decisions


def shapes(folder, each=24):
    """Left or right: a small arrow somewhere on noise, which a mirror turns into the other class."""
    chance = np.random.default_rng(0)
    for label, direction in (("left", -1), ("right", 1)):
        (folder / label).mkdir(parents=True)
        for i in range(each):
            picture = Image.fromarray(chance.integers(90, 170, (72, 72, 3), dtype=np.uint8))
            x, y, r = *chance.integers(24, 48, 2).tolist(), int(chance.integers(10, 18))
            corners = [(x + direction * r, y), (x - direction * r, y - r), (x - direction * r, y + r)]
            ImageDraw.Draw(picture).polygon(corners, fill=tuple(chance.integers(0, 60, 3).tolist()))
            picture.save(folder / label / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def arrows(tmp_path_factory):
    return shapes(tmp_path_factory.mktemp("arrows"))


@pytest.fixture
def short(monkeypatch):
    """The same recipes with few steps, for a test's time."""
    few = {"epochs": 2, "least_steps": 36, "batch": 8, "rate": 0.003}
    full, cached = replace(FULL, **few), replace(CACHED, **few | {"least_steps": 60, "rate": 0.006, "views": 4})
    rungs = tuple(replace(r, how=full if r.how is FULL else cached) for r in tuned.RUNGS)
    monkeypatch.setattr("foveal.fit.routes.FROZEN_RUNGS", rungs)
    monkeypatch.setattr(tuned, "SIZES", (64,))
    monkeypatch.setattr(tuned, "CACHED_SIZES", (64, 64))


@pytest.mark.parametrize("name", ["fine-tune", "cached-trunk"])
def test_a_tuned_network_is_a_usable_bundle_and_repeats_to_the_same_weights(name, arrows, tmp_path, short):
    config, before = TrainConfig(strategy=name, time="5m"), sorted(arrows.rglob("*"))
    path, summary = train(arrows, config, out=str(tmp_path / "run"))
    assert sorted(arrows.rglob("*")) == before  # nothing is left in the user's folder
    assert summary["strategy"]["name"] == name and summary["model"]["name"] == "lite0"
    assert summary["model"]["input"] == [3, 64, 64]
    decisions = json.loads((path / "config.json").read_text())["decisions"]
    assert decisions["mirror"]["value"] is False  # an arrow's mirror image points the other way
    assert decisions[f"{name} steps"]["value"] >= 36
    files = sorted(str(f) for f in arrows.rglob("*.png"))
    answers = list(Predictor.load(path).stream(files))
    assert all(a.error is None and a.label in ("left", "right") for a in answers)
    right = sum(a.label == Path(f).parent.name for a, f in zip(answers, files, strict=True))
    assert right / len(files) > 0.75  # chance is 50 % with a deviation of 7: it did learn
    again, _ = replay(str(path), out=str(tmp_path / "again"))
    first, second = (load_bundle(p).tensors for p in (path, again))
    assert all(np.array_equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("name", ["cached-trunk", "fine-tune"])
def test_what_proved_itself_goes_on_with_the_pictures_held_out_and_repeats(
    name, arrows, tmp_path, short, monkeypatch
):
    tuning = next(r for r in routes.FROZEN_RUNGS if r.name == name)
    rungs = (frozen.Frozen(), tuning, tuned.TuneAll(tuning.how))
    monkeypatch.setattr(routes, "FROZEN_RUNGS", rungs)
    monkeypatch.setattr(ladder, "_beats", lambda *_, **__: (True, "as this test wants it"))
    path, summary = train(arrows, TrainConfig(time="5m"), out=str(tmp_path / "run"))
    assert summary["strategy"]["name"] == f"{name}-all"
    config = json.loads((path / "config.json").read_text())
    steps = {key: config["decisions"][f"{key} steps"]["value"] for key in (name, f"{name}-all")}
    assert steps[f"{name}-all"] >= steps[name] > 0  # eleven for every nine, but no more than all epochs
    used = [row["split"] for row in csv.DictReader((path / "split.csv").read_text().splitlines())]
    assert used.count("") == 0  # nothing is left out for having been held out
    again, _ = replay(str(path), out=str(tmp_path / "again"))
    first, second = (load_bundle(p).tensors for p in (path, again))
    assert all(np.array_equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize(("seconds", "share"), [(3.6, 1.0), (3.7, 0.45), (2000, 0.45), (float("inf"), 0.45)])
def test_the_first_training_has_all_the_time_where_too_few_steps_would_be_left(seconds, share):
    """Twenty steps of 0.1 s are eleven twentieths of 3.64 s."""
    assert tuned._share_of_first(seconds, 0.1) == share


def test_answers_to_the_test_side_are_planned_for_once(monkeypatch):
    """The first training owes them already, and they are the dearest: 500 of 560 seconds here."""
    sides = {"train": range(40), "val": range(60), "test": range(500)}
    fake = SimpleNamespace(seconds_a_step=lambda: 0.5, overhead=lambda _, answering: float(answering))
    monkeypatch.setattr(tuned, "_tuner", lambda *_: fake)
    first = SimpleNamespace(
        strategy="cached-trunk",
        owes=500.0,
        settings={"size": 96, "outcome": {"steps": 30}},
        seen={"train": range(30)},
    )
    work = SimpleNamespace(split=SimpleNamespace(on=sides.get))
    steps = 30 * tuned._REST * tuned._SHORTER
    assert tuned.TuneAll(CACHED).estimate(work, [first]) == pytest.approx(60 + 0.5 * steps)


@pytest.mark.parametrize("count", [50, 3000, 3001, 9000])
def test_the_head_that_comes_first_sees_every_class(count):
    """Also one of which there is a single picture, in any order."""
    from foveal.fit.tuning import _of_all_classes

    labels = np.zeros(count, dtype=np.int64)
    labels[7] = 1
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(count)
        some = _of_all_classes(order, labels)
        assert len(some) == min(count, 3000) == len(set(some.tolist()))
        assert 7 in some and set(some.tolist()) <= set(range(count))


def test_a_trial_costs_all_of_its_steps(monkeypatch):
    """Of few pictures it has forty steps of 32 and not two epochs: at 10 ms a picture 12.8 s, and 5 s around."""
    fake = SimpleNamespace(seconds_a_picture=lambda: 0.01, overhead=lambda *_: 5.0)
    monkeypatch.setattr(tuned, "_tuner", lambda *_: fake)
    trials = tuned._Trials(FULL, SimpleNamespace(seed=0), list(range(40)), list(range(10)))
    assert trials._cost(96) == pytest.approx(17.8)


@pytest.mark.parametrize(("made", "rate"), [({}, 0.006), ({"value": True}, 0.006), ({"value": False}, 0.002)])
def test_pictures_like_those_of_the_pretraining_are_tuned_at_a_lower_rate(made, rate):
    work = SimpleNamespace(decisions=Decisions(made={"keep frozen-stages": made} if made else {}))
    found = tuned._suited(FULL, work)
    assert found.rate == pytest.approx(rate) and found == replace(FULL, rate=found.rate)
    assert work.decisions.made["fine-tune rate"]["value"] == found.rate
    work.decisions.made["keep frozen-stages"] = {"value": True}
    assert (
        tuned._suited(FULL, work) == found
    )  # once settled it stays: the whole training has the rate of its trial


def test_an_unknown_augmentation_and_what_can_not_be_pinned(arrows, tmp_path):
    with pytest.raises(UnknownName, match="stong"):
        TrainConfig(augment="stong")
    with pytest.raises(UnknownName, match="fine-tune-all"):
        train(arrows, TrainConfig(strategy="fine-tune-all"), out=str(tmp_path / "run"))


def test_light_changes_every_picture_in_its_own_way_and_none_does_nothing():
    pictures = torch.zeros(4, 3, 8, 8) + 0.5
    assert torch.equal(augmented(pictures, STRENGTHS["none"], torch.Generator().manual_seed(0)), pictures)
    lit = augmented(pictures, Augment(light=0.2, tint=0.1), torch.Generator().manual_seed(0))
    assert lit.flatten(2).std(dim=2).max() < 1e-6  # a change of light is the same everywhere
    assert len({round(float(v), 4) for v in lit[:, 0, 0, 0]}) == 4
    assert (lit - 0.5).abs().max() <= 0.2 + 0.5 * 0.3 + 1e-6
    assert not torch.equal(lit[:, 0], lit[:, 1])


class Valley(torch.nn.Module):
    """A loss that a large step only climbs."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((1, 1), 1.0))

    def forward(self, x):
        return self.weight * x


def steep(rate, said=lambda _: None, guard=100.0):
    class Heard(Progress):
        def say(self, text):
            said(text)

    module = Valley()
    job = Job(
        "valley", module, lambda _: (torch.ones(1, 1), torch.zeros(1, 1)), lambda o, t: (20 * (o - t) ** 2).sum()
    )
    settings = Settings(60, rate, optimizer="sgd", warmup=0.0, guard=guard, check_every=10)
    return train_network(job, settings, clock=Clock(), progress=Heard()), module


def test_a_rate_that_lets_the_loss_rise_is_halved_and_the_training_begun_again():
    said = []
    outcome, module = steep(0.06, said.append)
    assert outcome.retries >= 1 and "from the start again" in said[0]
    assert outcome.steps == 60 and abs(float(module.weight.detach())) < 0.1
    calm, _ = steep(0.004)
    assert calm.retries == 0


@pytest.mark.parametrize("stop", [1, 4, 10, 15, 60])
def test_a_training_that_began_again_and_was_stopped_is_repeated(stop, tmp_path):
    """Stopped in its second attempt, cut in it, too; the repeated one has all of this before its first step."""

    def run(clock, stop_at=None, cuts=(), checkpoints=None):
        module, calls = Valley(), iter(range(10**6))

        def batch(step):
            if clock.budget < 10**6 and next(calls) == 20 + stop - 1:
                clock.stop()
            return torch.ones(1, 1), torch.zeros(1, 1)

        job = Job("valley", module, batch, lambda o, t: (20 * (o - t) ** 2).sum())
        settings = Settings(60, 0.06, optimizer="sgd", warmup=0.0, guard=100.0, check_every=10)
        schedule = Schedule(60, 0.0, cuts=list(cuts))
        outcome = train_network(
            job, settings, clock=clock, schedule=schedule, stop_at=stop_at, checkpoints=checkpoints
        )
        return outcome, float(module.weight.detach()), schedule

    first, weight, schedule = run(Clock(10**5), cuts=[(1, 3, 50)])
    assert first.restarts >= 1 and schedule.end <= 60
    stopped = first.steps < schedule.end
    again, same, _ = run(Clock(), (first.restarts, first.steps) if stopped else None, schedule.cuts)
    assert (again.steps, again.restarts, same) == (first.steps, first.restarts, weight)


def test_checkpoints_after_a_new_beginning_outlive_those_before_it(tmp_path):
    kept = Checkpoints(tmp_path)
    state = {"a": np.zeros(3)}
    for attempt, step in ((0, 40), (0, 50), (1, 0), (1, 10)):
        kept.save(step, state, {"attempt": attempt, "step": step})
    assert kept.load()[1] == {"attempt": 1, "step": 10}
    (tmp_path / ".0123456789abcdef.part").write_bytes(b"half")
    assert kept.load()[1]["step"] == 10 and not list(tmp_path.glob(".*.part"))


def test_a_small_rise_is_noise_and_no_reason_to_begin_again():
    """A head that was fitted first leaves little to learn: then the loss goes up and down between batches."""
    weight = torch.nn.Parameter(torch.zeros(1))

    class Noisy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = weight

        def forward(self, x):
            return self.weight * 0 + x

    for height, retries in ((0.05, 0), (0.6, 3)):
        job = Job(
            "noisy",
            Noisy(),
            lambda step, height=height: (torch.full((1,), 0.5 + height * (step >= 10)), torch.zeros(1)),
            lambda o, _: o.sum(),
        )
        settings = Settings(40, 0.1, optimizer="sgd", guard=float(np.log(8)), check_every=10)
        assert train_network(job, settings, clock=Clock()).retries == retries


def test_a_network_that_learns_nothing_is_begun_again_too():
    said = []

    class Heard(Progress):
        def say(self, text):
            said.append(text)

    module = torch.nn.Linear(2, 2)
    blind = Job(
        "dead", module, lambda _: (torch.zeros(8, 2), torch.arange(8) % 2), torch.nn.functional.cross_entropy
    )
    settings = Settings(60, 0.1, optimizer="sgd", warmup=0.0, guard=float(np.log(2)), check_every=10)
    outcome = train_network(blind, settings, clock=Clock(), progress=Heard())
    assert outcome.retries == 3 and outcome.steps == 60
    assert ["by step 20" in words for words in said] == [True, True, True]


def test_with_a_relative_rate_every_tensor_moves_by_the_same_share():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False))
    with torch.no_grad():
        module[0].weight.mul_(100)
    before = [p.detach().clone() for p in module.parameters()]
    job = Job(
        "two",
        module,
        lambda _: (torch.randn(8, 4), torch.zeros(8, dtype=torch.long)),
        torch.nn.functional.cross_entropy,
    )
    train_network(job, Settings(1, 0.01, relative=True, optimizer="adamw", warmup=0.0), clock=Clock())
    moved = [
        float((p.detach() - b).abs().mean() / b.square().mean().sqrt())
        for p, b in zip(module.parameters(), before, strict=True)
    ]
    assert moved == pytest.approx([0.005, 0.005], rel=0.1)  # half of the rate in the one step of a line to zero
