"""Recipes by time, mirroring by evidence, and the way that small pictures take."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from digits import bars
from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.data.glance import Glance, glance
from foveal.errors import BundleError, UnknownName
from foveal.fit import device
from foveal.fit.augment import Augment, augmented
from foveal.fit.batches import Batches
from foveal.fit.device import Device
from foveal.fit.recipes import RECIPES, for_zoo
from foveal.fit.routes import choose_route
from foveal.fit.strategies import scratch
from foveal.fit.training import Trainer, seconds_a_step
from foveal.models.networks import build, with_weights
from foveal.progress import Progress
from foveal.values import Decisions, Entry, Preprocess

GREY = Preprocess(size=12, channels=1)


def batches(n=50, size=16, **given):
    pixels, labels = bars(n)
    how = {"augment": Augment(), "seed": 3, "device": "cpu", **given}
    return Batches(pixels[:, None], labels.astype(np.int64), GREY, size=size, **how), pixels


def test_an_epoch_shows_each_picture_once_in_a_new_order_each_time():
    made, pixels = batches(48)
    seen = [torch.cat([made(e * 3 + k)[0] for k in range(3)]) for e in range(2)]
    for epoch in seen:
        shown = np.sort((epoch * 128 + 127).round().numpy().astype(np.uint8).reshape(48, -1), axis=0)
        assert (shown == np.sort(pixels.reshape(48, -1), axis=0)).all()
    assert not torch.equal(seen[0], seen[1])


def test_a_batch_is_a_function_of_its_step():
    made, _ = batches(augment=Augment(shift=1, rotate=10, elastic=0.5))
    first = [made(step) for step in (0, 7, 3, 7)]
    other, _ = batches(augment=Augment(shift=1, rotate=10, elastic=0.5))
    assert torch.equal(first[1][0], first[3][0]) and torch.equal(first[1][0], other(7)[0])
    assert not torch.equal(first[0][0], first[1][0])
    elsewhere, _ = batches(augment=Augment(shift=1, rotate=10, elastic=0.5), seed=4)
    assert not torch.equal(first[1][0], elsewhere(7)[0])


def test_fewer_pictures_than_a_batch():
    made, _ = batches(5)
    assert made.size == 5 and made.per_epoch == 1 and len(made(9)[1]) == 5


@settings(max_examples=30, deadline=None)
@given(
    st.builds(
        Augment,
        shift=st.floats(0, 3),
        rotate=st.floats(0, 30),
        scale=st.floats(0, 0.3),
        shear=st.floats(0, 0.3),
        elastic=st.floats(0, 2),
        mirror=st.booleans(),
    ),
    st.integers(0, 1000),
)
def test_augmentation_keeps_form_and_range(how, seed):
    pictures = torch.rand(4, 3, 9, 13)
    found = augmented(pictures, how, torch.Generator().manual_seed(seed))
    assert found.shape == pictures.shape
    assert found.min() >= pictures.min() - 1e-5 and found.max() <= pictures.max() + 1e-5
    assert torch.equal(found, augmented(pictures, how, torch.Generator().manual_seed(seed)))


def test_a_flat_picture_stays_as_it_is_whatever_is_done():
    flat = torch.full((3, 1, 8, 8), 0.25)
    found = augmented(flat, Augment(2, 20, 0.2, 0.2, 1.0, mirror=True), torch.Generator().manual_seed(0))
    assert torch.allclose(found, flat, atol=1e-6)


def test_a_rotation_by_its_own_angle():
    """Against torchvision's rotation, which nobody here wrote."""
    from torchvision.transforms.v2 import InterpolationMode, functional

    picture = torch.from_numpy(bars(1, side=21)[0][None]).float()
    how = Augment(rotate=25)
    chance = torch.Generator().manual_seed(5)
    angle = float((2 * torch.rand(1, generator=torch.Generator().manual_seed(5)) - 1) * 25)
    found = augmented(picture, how, chance)[0, 0, 5:-5, 5:-5]
    expected = functional.rotate(picture, angle, InterpolationMode.BILINEAR)[0, 0, 5:-5, 5:-5]
    other = functional.rotate(picture, -angle, InterpolationMode.BILINEAR)[0, 0, 5:-5, 5:-5]
    assert min((found - expected).abs().max(), (found - other).abs().max()) < 0.5


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (1, 8)])
def test_every_recipe_makes_a_network_for_any_small_picture(recipe, channels, size):
    spec = recipe.network(channels, 7)
    module = build(spec)
    assert module.eval()(torch.zeros(2, channels, size, size)).shape == (2, 7)
    features = module.forward_features(torch.zeros(2, channels, size, size))
    assert torch.equal(module.forward_head(features), module(torch.zeros(2, channels, size, size)))


def test_an_ensemble_averages_probabilities():
    spec = {"architecture": "small", "channels": 1, "classes": 3, "stages": [[4], [6]]}
    members = [build(spec).eval() for _ in range(3)]
    state = {f"members.{i}.{k}": v.numpy() for i, m in enumerate(members) for k, v in m.state_dict().items()}
    whole = with_weights({"architecture": "ensemble", "member": spec, "count": 3}, state)
    picture = torch.rand(5, 1, 10, 10)
    expected = torch.stack([m(picture).softmax(dim=1) for m in members]).mean(dim=0)
    assert torch.allclose(whole(picture).exp(), expected, atol=1e-6)


@pytest.mark.parametrize(
    "spec", [{}, {"architecture": "vgg"}, {"architecture": "small", "depth": 3}, {"architecture": "ensemble"}]
)
def test_a_network_nobody_knows_is_a_bundle_error(spec):
    with pytest.raises(BundleError):
        build(spec)


def entries(n):
    return [Entry(f"/nowhere/{i}.png", "a") for i in range(n)]


@pytest.mark.parametrize(
    ("seen", "config", "rung"),
    [
        (Glance(60_000, 28, True, (0, 0, 0)), {}, "scratch-seconds"),
        (Glance(60_000, 64, False, (0, 0, 0)), {}, "scratch-seconds"),
        (Glance(60_000, 65, False, (0, 0, 0)), {}, "frozen"),
        (Glance(300, 28, True, (0, 0, 0)), {}, "frozen"),
        (Glance(60_000, 0, True, (0, 0, 0)), {}, "frozen"),
        (Glance(60_000, 28, True, (0, 0, 0)), {"strategy": "frozen"}, "frozen"),
        (Glance(300, 500, False, (0, 0, 0)), {"strategy": "scratch-hour"}, "scratch-seconds"),
    ],
)
def test_the_way_is_chosen_by_size_and_number(monkeypatch, seen, config, rung):
    from foveal.fit import routes

    monkeypatch.setattr(routes, "glance", lambda _: seen)
    decisions = Decisions()
    route = choose_route(entries(1), TrainConfig(**config), decisions)
    assert route.rungs[0].name == rung
    again = choose_route([], TrainConfig(**config), Decisions(dict(decisions.made)))
    assert again == route
    if rung.startswith("scratch"):
        assert route.preprocess.size == min(64, seen.side) and route.preprocess.channels == (1 if seen.grey else 3)


def test_an_unknown_strategy_suggests_the_nearest():
    with pytest.raises(UnknownName) as caught:
        choose_route(entries(1), TrainConfig(strategy="scratch-secnds"), Decisions())
    assert caught.value.near == "scratch-seconds"


def test_a_glance_sees_size_colour_and_ground(make_folder, tmp_path):
    folder = make_folder(tmp_path, {"a": 6}, size=(40, 30))
    seen = glance([Entry(str(p), "a") for p in sorted(folder.rglob("*.*"))])
    assert (seen.count, seen.grey) == (6, False) and 40 <= seen.side <= 42
    assert glance(entries(3)).side == 0


class Timed(scratch.Scratch):
    """A rung whose speed is known."""

    def estimate(self, work, so_far):
        return {"scratch-minute": 50.0, "scratch-quarter": 500.0, "scratch-hour": 3000.0}[self.name]


@pytest.mark.parametrize(
    ("budget", "climbed"),
    [
        (10, []),
        (70, ["scratch-minute"]),
        (600, ["scratch-minute"]),  # the quarter would step aside later: nothing was climbed at all
        (660, ["scratch-minute", "scratch-quarter"]),
        (700, ["scratch-quarter"]),
        (7000, ["scratch-hour"]),
    ],
)
def test_the_longest_recipe_that_fits_is_taken(budget, climbed):
    from foveal.fit.ladder import MARGIN

    rungs = ()
    for recipe in reversed(RECIPES[1:]):
        rungs = (Timed(recipe, rungs), *rungs)
    work = SimpleNamespace(clock=Clock(budget), reserve=0.0)
    taken = [
        r.name for r in rungs if r.estimate(work, []) * MARGIN <= work.clock.left() and r.refuse(work, []) is None
    ]
    assert taken == climbed


@pytest.mark.parametrize(("loss", "keeps"), [(0.0, True), (0.04, True), (0.3, False)])
def test_mirroring_is_asked_of_the_first_network(monkeypatch, loss, keeps):
    from foveal.fit import training

    n = 1000
    labels = np.arange(n) % 2
    answers = np.eye(2, dtype=np.float32)[np.where(np.arange(n) < n * (1 - loss), labels, 1 - labels)]
    monkeypatch.setattr(training, "answers_of", lambda *_: answers)
    work = SimpleNamespace(
        split=SimpleNamespace(on=lambda _: range(n), classes=("a", "b")),
        labels=lambda _: labels,
        pixels=lambda _: np.zeros((n, 1, 2, 2), dtype=np.uint8),
        decisions=Decisions(),
    )
    first = SimpleNamespace(score=1.0, strategy="first", learned=None)
    rung = replace(scratch.RUNGS[1])
    assert rung._mirrored(work, [first]).augment["mirror"] is keeps
    assert "mirrored on" in work.decisions.made["mirror"]["reason"]
    work.decisions = Decisions()
    first.score = 0.5  # of two classes: it knows nothing, and may not say
    assert rung._mirrored(work, [first]).augment["mirror"] is False


def test_half_precision_is_taken_only_when_it_is_like_and_pays(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "instruction_sets", lambda: ["avx2", "avx512_bf16"])
    for gain, like, expected in ((5.0, 0.999, "bf16"), (1.0, 0.999, "f32"), (5.0, 0.5, "f32")):
        monkeypatch.setattr(device, "_measured", lambda *_, g=gain, k=like: device.judged(g, k))
        monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / f"{gain} {like}"))  # what was measured is remembered
        chosen = device.choose_device(Decisions(), {}, GREY)
        assert chosen.precision == expected


def test_without_bf16_there_is_nothing_to_measure(monkeypatch):
    monkeypatch.setattr(device, "instruction_sets", lambda: ["avx2"])
    monkeypatch.setattr(device, "_measured", pytest.fail)
    decisions = Decisions()
    assert device.choose_device(decisions, {}, GREY).precision == "f32"
    assert "no bf16" in decisions.made["device"]["reason"]


def test_both_precisions_can_be_measured_here():
    """Whatever this processor says: the measurement itself runs."""
    spec = {"architecture": "small", "channels": 1, "classes": 3, "stages": [[4], [6]]}
    precision, reason = device._measured("cpu", spec, GREY)
    assert precision in ("f32", "bf16") and "likeness" in reason


class Members:
    """A trainer of three networks; at one of them somebody says stop."""

    def __init__(self, work, stops_at, after=0.0):
        self.work, self.stops_at, self.after, self.trained = work, stops_at, after, []

    def train(self, member, steps):
        self.trained.append(member)
        self.work.clock.born -= self.after
        if member == self.stops_at:
            self.work.clock.stop()
            self.work.decisions.record(f"scratch-hour-{member} stopped at", 1, "")
        return {"steps": steps}

    def forget_last(self):
        self.trained.pop()


@pytest.mark.parametrize(
    ("stops_at", "after", "kept"), [(None, 0.0, [0, 1, 2]), (0, 0.0, [0]), (1, 0.0, [0]), (2, 0.0, [0, 1])]
)
def test_a_network_that_was_stopped_is_left_out_of_the_ensemble(stops_at, after, kept):
    """Ctrl-C in the second one left networks of one step, whose answers counted as much as the first one's."""
    rung = scratch.Scratch(replace(RECIPES[-1], members=3))
    work = SimpleNamespace(clock=Clock(1000.0), reserve=5.0, decisions=Decisions())
    trainer = Members(work, stops_at, after)
    assert len(rung._members(trainer, 9, work)) == len(kept) and trainer.trained == kept
    again = SimpleNamespace(clock=Clock(), reserve=5.0, decisions=Decisions(dict(work.decisions.made)))
    repeated = Members(again, None)
    assert len(rung._members(repeated, 9, again)) == len(kept) and repeated.trained == kept


def test_networks_of_an_ensemble_have_as_much_time_each(monkeypatch):
    from foveal.fit import training

    given = []
    monkeypatch.setattr(training, "run_training", lambda *_, reserve, **__: given.append(reserve))
    trainer = object.__new__(Trainer)
    trainer.recipe, trainer._modules = replace(RECIPES[0], members=3), []
    trainer.network, trainer.device = trainer.recipe.network(1, 3), SimpleNamespace(name="cpu", precision="f32")
    trainer.work = SimpleNamespace(clock=Clock(95.0), reserve=5.0, seed=0)
    for name in ("batches", "settings"):
        monkeypatch.setattr(trainer, name, lambda _: None, raising=False)
    monkeypatch.setattr(trainer, "_answering", lambda: 0.0)
    for member in range(3):
        trainer.train(member, 1)
    assert given == pytest.approx([5 + 60, 5 + 45, 5], abs=1)


@pytest.mark.parametrize("asked", [10, 200, 400])
@pytest.mark.parametrize(("shifted", "members"), [(0, 1), (1, 1), (0, 3)])
def test_a_slow_network_leaves_time_for_its_answers(monkeypatch, asked, shifted, members):
    """It trained to the last second, was asked about the pictures held out only then, and took 73 s of 60."""
    sides = {"train": range(100), "val": range(asked), "test": range(asked)}
    trainer = object.__new__(Trainer)
    trainer.recipe = replace(RECIPES[0], epochs=1000, members=members, shifted=shifted)
    trainer.network, trainer.device = trainer.recipe.network(1, 3), SimpleNamespace(precision="f32")
    trainer.work = SimpleNamespace(clock=Clock(100), reserve=5.0, split=SimpleNamespace(on=sides.get))
    monkeypatch.setattr(trainer, "batches", lambda _: SimpleNamespace(per_epoch=50), raising=False)
    monkeypatch.setattr(trainer, "seconds_an_epoch", lambda: 1.0)
    steps, _ = trainer.affordable_steps()
    answers = 2 * asked * 0.01 * 0.4 * members * (5 if shifted else 1)
    assert 0.9 * (95 - answers) <= steps / 50 * members + 0.03 * members <= 95 - answers


@pytest.mark.parametrize(("architecture", "left", "a_step", "expected"), [
    ("vgg16", 100, 2.0, 64), ("vgg16", 100, 4.0, 32), ("vgg16", 100, 40.0, 8), ("vgg16", math.inf, 40.0, 64),
    ("", 100, 40.0, 128),
])  # fmt: skip
def test_a_large_network_takes_smaller_batches_rather_than_one_step(
    monkeypatch, architecture, left, a_step, expected
):
    """VGG-16 made one step of 64 pictures in a minute."""
    trainer = object.__new__(Trainer)
    trainer.recipe = for_zoo(architecture, 224) if architecture else replace(RECIPES[1], batch=128)
    trainer.work = SimpleNamespace(clock=Clock(left + 5.0), reserve=5.0, decisions=Decisions())
    monkeypatch.setattr(trainer, "batches", lambda _, size: SimpleNamespace(size=size), raising=False)
    monkeypatch.setattr(trainer, "_step", lambda _: a_step)
    assert trainer.size == expected


@pytest.mark.parametrize(("budget", "whole"), [(math.inf, True), (1e-6, False)])
def test_where_one_step_is_too_long_to_try_a_share_of_a_batch_tells(budget, whole):
    module, asked = build(RECIPES[0].network(1, 10)), set()
    module.register_forward_hook(lambda _, inputs, __: asked.add(len(inputs[0])))
    before = {k: v.clone() for k, v in module.named_parameters()}
    work = SimpleNamespace(
        clock=Clock(budget), reserve=0.0, memory=None, progress=Progress(), decisions=Decisions(), plans={}
    )
    one = seconds_a_step(module, batches()[0], Device("cpu", "f32", 1), work, optimizer="adamw")
    assert one > 0 and 2 in asked and (16 in asked) == whole
    assert all(torch.equal(v, before[k]) for k, v in module.named_parameters())
