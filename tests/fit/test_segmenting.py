"""Learning to segment: pieces whose masks go with them, a loss in which rare classes count, rungs by the clock."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from foveal.clock import Clock
from foveal.fit import crops as cropping
from foveal.fit.crops import Crops, Cut
from foveal.fit.depthwise import plain, quicken
from foveal.fit.ladder import climb
from foveal.fit.mask_evidence import MaskEvidence
from foveal.fit.optimizers import optimizer_for
from foveal.fit.segmenting import (
    answers_of,
    class_weights,
    compare_decoders,
    piece_sides,
    segmentation_loss,
)
from foveal.fit.segmentings import FULL, QUICK, Segmenting
from foveal.fit.strategies import segment
from foveal.fit.strategies.base import Work
from foveal.metrics.segmentation import VOID, confusion
from foveal.models.backbones import find_backbone
from foveal.models.networks import with_weights
from foveal.models.segmentation.network import segmenter
from foveal.progress import Progress
from foveal.values import Decisions, ImageRecord, Placed, Preprocess, Split

TINY = {"area": 64 * 64, "batch": 4, "epochs": 8, "least_steps": 4, "scales": (0.5,)}
COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]], dtype=np.uint8)


def scenes(count, height=64, width=96, seed=0):
    """Blocks of three colours, each a class, under noise."""
    chance = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), dtype=np.uint8)
    for mask in masks:
        for value in (1, 2):
            y, x = chance.integers(0, (height - 24, width - 24))
            mask[y : y + 24, x : x + 24] = value
    noise = chance.integers(-20, 20, (count, 3, height, width))
    pixels = np.clip(COLOURS[masks].transpose(0, 3, 1, 2) + noise, 0, 255).astype(np.uint8)
    return pixels, masks


def crops(cut, pixels=None, masks=None, **more):
    found = scenes(4)
    given = {"size": 4, "classes": 3, "seed": 0} | more
    return Crops(
        found[0] if pixels is None else pixels,
        found[1] if masks is None else masks,
        Preprocess(),
        cut=cut,
        **given,
    )


def test_a_piece_and_its_mask_go_together_and_depend_on_the_step_alone():
    pixels, masks = scenes(4)
    masks[:, :8] = VOID
    cut = Cut(64, 64, smallest=0.7, largest=1.5, rotate=20, stretch=0.2, mirror=True, light=0, tint=0)
    batches = crops(cut, pixels, masks)
    seen, wanted = batches(3)
    assert seen.shape == (4, 3, 64, 64) and wanted.shape == (4, 64, 64) and wanted.dtype == torch.long
    again, later = crops(cut, pixels, masks)(3), batches(4)
    assert torch.equal(seen, again[0]) and torch.equal(wanted, again[1]) and not torch.equal(seen, later[0])
    values = (seen * 128 + 127).permute(0, 2, 3, 1)
    nearest = (values[..., None, :] - torch.tensor(COLOURS).float()).square().sum(-1).argmin(-1)
    known = wanted != VOID
    assert set(wanted[known].tolist()) == {0, 1, 2} and (~known).any()
    assert (
        float((nearest == wanted)[known].float().mean()) > 0.95
    )  # bilinear colours and nearest classes part at edges


def test_what_lies_outside_is_void_and_the_mean_colour():
    seen, wanted = crops(Cut(128, 192, smallest=0.5, largest=0.5, rotate=0, stretch=0, light=0, tint=0))(0)
    assert (wanted == VOID).float().mean() > 0.8
    assert float(seen.permute(0, 2, 3, 1)[wanted == VOID].abs().max()) < 1.5


def test_pieces_are_cut_around_rare_things():
    masks = np.zeros((2, 256, 256), dtype=np.uint8)
    masks[:, 10:14, 200:204] = 1
    pixels = np.zeros((2, 3, 256, 256), dtype=np.uint8)
    shares = []
    for around in (0.0, 1.0):
        batches = crops(Cut(64, 64, around=around), pixels, masks, size=2)
        shares.append(np.mean([bool((batches(s)[1] == 1).any()) for s in range(40)]))
    assert shares[1] > shares[0] + 0.2


def test_things_to_cut_around_are_looked_for_in_masks_that_are_cut_alone(monkeypatch):
    looked, places = [], cropping._places
    monkeypatch.setattr(cropping, "_places", lambda *a: looked.append(a[2]) or places(*a))
    pixels, masks = scenes(6)
    batches = crops(Cut(64, 64, around=1.0), pixels, masks, size=2)
    assert looked == [] and batches(0) and len(looked) == 2
    assert batches(0) and len(looked) == 2
    assert batches(1) and batches(2) and len(looked) == len(set(looked)) == 6


def test_pieces_have_the_pictures_shape_and_are_no_larger():
    assert piece_sides(FULL, 360, 480, 1.0) == (224, 288)
    assert piece_sides(FULL, 64, 96, 1.0) == (64, 96)
    assert piece_sides(FULL, 64, 96, 0.5) == (32, 64)


def test_rare_classes_weigh_more_and_void_counts_nowhere():
    mask = np.zeros((10, 10), dtype=np.uint8)
    mask[0, :4], mask[9] = 1, VOID
    assert torch.allclose(class_weights([mask], 2, 0.0), torch.ones(2))
    weights = class_weights([mask], 3, 0.5)
    assert weights[1] > 3 * weights[0] and weights[2] == weights[1]
    assert float((weights[:2] * torch.tensor([86 / 90, 4 / 90])).sum()) == pytest.approx(1, abs=0.01)
    loss = segmentation_loss(torch.ones(2), dice=0.5)
    target = torch.tensor([[[0, 1], [VOID, 0]]])
    right = torch.tensor([[9.0, -9.0], [5.0, 9.0]]), torch.tensor([[-9.0, 9.0], [7.0, -9.0]])
    logits = torch.stack(right)[None].requires_grad_()
    found = loss(logits, target)
    found.backward()
    assert float(found.detach()) < 0.01 and not logits.grad[0, :, 1, 0].any()
    assert float(loss(-logits.detach(), target)) > 10
    empty = loss(logits.detach(), torch.full_like(target, VOID))
    assert float(empty) == 0 and torch.isfinite(empty)


def test_the_trunk_learns_relative_to_its_size_and_the_rest_at_the_plain_rate():
    module = nn.ModuleDict({"encoder": nn.Linear(2, 2), "decoder": nn.Linear(2, 2)})
    nn.init.constant_(module["encoder"].weight, 0.5)
    optimizer = optimizer_for(
        module, "adamw", 0.1, relative=True, trunk="encoder.", trunk_share=2.0, weight_decay=0.01
    )
    shares = {id(p): g["share"] for g in optimizer.param_groups for p in g["params"]}
    assert shares[id(module["encoder"].weight)] == pytest.approx(1.0)
    assert shares[id(module["decoder"].weight)] == shares[id(module["decoder"].bias)] == 1.0
    assert len(shares) == 4


def test_a_relative_head_learns_at_its_own_share_of_its_size():
    module = nn.ModuleDict({"parts": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    for layer in module.values():
        nn.init.constant_(layer.weight, 0.5)
    optimizer = optimizer_for(module, "adamw", 0.1, relative=True, head_share=0.25)
    shares = {id(p): g["share"] for g in optimizer.param_groups for p in g["params"]}
    assert shares[id(module["parts"].weight)] == pytest.approx(0.5)
    assert shares[id(module["head"].weight)] == pytest.approx(0.125)


def test_in_bf16_a_segmenter_answers_alike_and_is_itself_again():
    """As it trains where that is faster: autocast, and depthwise gradients put together from quick ones."""
    module = segmenter("unet", 3, find_backbone(), widths=(16, 16, 16)).eval()
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    names = list(module.state_dict())
    with torch.no_grad():
        expected = module(picture)
        assert quicken(module) > 10
        with torch.autocast("cpu", torch.bfloat16):
            found = module(picture).float()
        assert not torch.equal(found, expected) and list(module.state_dict()) == names
        likeness = nn.functional.cosine_similarity(found.flatten(), expected.flatten(), dim=0)
        assert float(likeness) > 0.99
        plain(module)
        assert torch.equal(module(picture), expected)


def evidence(right, groups):
    counts = {str(i): np.array([[r, 10 - r], [10 - r, r]]) for i, r in enumerate(right)}
    return MaskEvidence(counts, {str(i): g for i, g in enumerate(groups)})


def test_evidence_is_paired_and_counts_groups_not_frames():
    better, worse = evidence([9, 9, 8, 9], "aabb"), evidence([7, 7, 7, 6], "aabb")
    found = better.beside(worse)
    assert found.n == 4 and found.points > 0 and found.sum_of_z > 2 and "mIoU" in str(found)
    assert worse.beside(better).sum_of_z < -2
    assert better.interval[0] <= better.miou <= better.interval[1]
    assert evidence([9], "a").interval is None
    assert better.beside(MaskEvidence({}, {})).sum_of_z == 0 and better.beside(None).n == 0


class Pairs(Work):
    """A job whose pictures are at hand."""

    def pairs(self, placed, preprocess):
        pixels, masks = scenes(len(placed) + 1, seed=len(placed))
        return pixels[1:], masks[1:]


def work(clock=None):
    def placed(side, count):
        for i in range(count):
            record = ImageRecord(f"{side}{i}", None, None, None, f"{side}{i}", 96, 64, 0, 0, b"", 0, 0, 0)
            yield Placed(record, side, f"{side}{i // 2}")

    split = Split((*placed("train", 8), *placed("val", 4), *placed("test", 2)), (), ("a", "b", "c"))
    return Pairs(split, None, clock or Clock(), 0, Progress(), preprocess=Preprocess(), decisions=Decisions())


@pytest.mark.parametrize(("seconds", "alone"), [(40, True), (400, False)])
def test_where_nothing_can_follow_the_quick_rung_has_all_the_time(monkeypatch, seconds, alone):
    """It took 15 % of what was left, 19 steps, and the rest of the budget went by unused."""
    speed = SimpleNamespace(seconds_a_step=lambda: 0.2, overhead=lambda: 1.0)
    monkeypatch.setattr(segment.Segment, "_masker", lambda *_: speed)
    job = work(Clock(seconds))
    rung = segment.Segment(QUICK, FULL)._with_time(job)
    assert rung.how.most_share == (1.0 if alone else QUICK.most_share)
    assert rung.how.epochs == (FULL if alone else QUICK).epochs and rung.name == QUICK.name
    assert job.decisions.made["fcn8s alone"]["value"] is alone
    assert segment.Segment(FULL)._with_time(job).how is FULL
    pinned = segment.Segment(QUICK, FULL)._with_time(replace(work(Clock(seconds)), only=QUICK.name))
    assert pinned.how.most_share == 1.0


@pytest.mark.parametrize("how", [QUICK, FULL], ids=lambda how: how.name)
def test_a_rung_learns_and_its_answers_are_the_bundles(how):
    job = work()
    small = {"options": {"widths": [16, 16, 16]}} if how is FULL else {}
    rung = segment.Segment(replace(how, **(TINY | small), rate=0.01))
    assert 0 < rung.estimate(job, []) < 600
    found = rung.fit(job, [])
    assert found.score > 0.5 and found.score_n == 4 and found.score_ci95[0] <= found.score
    assert found.settings["outcome"]["steps"] == job.decisions.made[f"{how.name} steps"]["value"] == 16
    assert len(found.seen["test"]) == 2 and found.logits == {}
    module = with_weights(found.learned.network, found.learned.tensors)
    pixels, masks = job.pairs(job.split.on("val"), job.preprocess)
    answers = answers_of(module, pixels, job.preprocess)
    assert [a.shape for a in answers] == [(64, 96)] * 4
    first = job.split.on("val")[0].record.sha256
    assert np.array_equal(confusion(answers[0], masks[0], 3), found.evidence.counts[first])


def test_the_second_rung_asks_the_first_about_mirrors_and_the_better_is_kept():
    rungs = tuple(segment.Segment(replace(QUICK, name=n, rate=0.01, **TINY)) for n in ("one", "two"))
    job = work()
    climbed = climb(rungs, job, job.decisions)
    assert [c.strategy for c in climbed.candidates] == ["one", "two"]
    assert "mirrored" in job.decisions.made["mirror"]["reason"]
    assert "mIoU" in job.decisions.made["keep two"]["reason"]
    again = work()
    again.decisions.made.update(job.decisions.made)
    repeated = climb(rungs, again, again.decisions)
    ours, theirs = climbed.best.learned.tensors, repeated.best.learned.tensors
    assert all(np.array_equal(ours[k], theirs[k]) for k in ours)


def test_decoders_are_compared_on_the_same_pieces():
    pixels, masks = scenes(6)
    told = []
    rows = compare_decoders(
        (pixels[:4], masks[:4]), (pixels[4:], masks[4:]), classes=3, backbone=find_backbone(),
        decoders=("fcn32s", "fcn8s"), steps=2, how=Segmenting("tiny", "unet", **TINY), on_row=told.append,
    )  # fmt: skip
    assert [r.decoder for r in rows] == ["fcn32s", "fcn8s"] and rows == told
    assert all(0 <= r.miou <= 1 and r.counts.shape == (2, 3, 3) and r.boundaries.shape == (2, 3, 4) for r in rows)
