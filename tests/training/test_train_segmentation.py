"""Training a segmenter: the loss, the time of each strategy, what is compared, and the same weights again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import runs
from colour_blocks import blocks
from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.data.audit.scan import ScanOptions
from foveal.data.dataset import read_dataset
from foveal.data.sources.list_data import list_data
from foveal.data.targets.mask_loss import class_weights, segmentation_loss
from foveal.metrics.segmentation import VOID, confusion
from foveal.models.backbones import find_backbone
from foveal.models.depthwise import fast_depthwise
from foveal.models.networks import with_weights
from foveal.models.segmentation.network import segmenter
from foveal.training.compare import MaskEvidence
from foveal.training.ladder import search
from foveal.training.recipes.segmentation import FULL, QUICK
from foveal.training.strategies.segmentation import SegmentationStrategy
from foveal.training.strategy import LadderState
from foveal.training.trainers.segmentation import predict_masks
from foveal.values import Preprocess

pytestmark = pytest.mark.slow

TINY = {"crop_area": 64 * 64, "batch_size": 4, "epochs": 8, "least_steps": 4, "scales": (0.5,), "lr": 0.01}


def test_rare_classes_weigh_more_and_ignored_pixels_count_nowhere():
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
    value = loss(logits, target)
    value.backward()
    assert float(value.detach()) < 0.01 and not logits.grad[0, :, 1, 0].any()
    assert float(loss(-logits.detach(), target)) > 10
    empty = loss(logits.detach(), torch.full_like(target, VOID))
    assert float(empty) == 0 and torch.isfinite(empty)


def test_in_bf16_a_segmenter_predicts_alike_and_is_itself_afterwards():
    """As it trains where that is faster: autocast, and depthwise gradients put together from quick ones."""
    module = segmenter("unet", 3, find_backbone(), widths=(16, 16, 16)).eval()
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    names = list(module.state_dict())
    with torch.no_grad():
        expected = module(image)
        with fast_depthwise(module) as count:
            assert count > 10 and list(module.state_dict()) == names
            with torch.autocast("cpu", torch.bfloat16):
                logits = module(image).float()
        assert not torch.equal(logits, expected)
        similarity = nn.functional.cosine_similarity(logits.flatten(), expected.flatten(), dim=0)
        assert float(similarity) > 0.99
        assert torch.equal(module(image), expected)


def evidence(right, groups):
    counts = {str(i): np.array([[r, 10 - r], [10 - r, r]]) for i, r in enumerate(right)}
    return MaskEvidence(counts, {str(i): g for i, g in enumerate(groups)})


def test_masks_are_compared_in_pairs_over_groups_not_frames():
    better, worse = evidence([9, 9, 8, 9], "aabb"), evidence([7, 7, 7, 6], "aabb")
    comparison = better.compare_to(worse)
    (gain,) = comparison.gains
    assert comparison.n == 4 and gain.metric == "mIoU" and gain.value > 0 and comparison.sum_of_z > 2
    assert worse.compare_to(better).sum_of_z < -2
    assert better.compare_to(MaskEvidence({}, {})).sum_of_z == 0 and better.compare_to(None).n == 0


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Eight images to train on, four to validate on, two to test on, each with its mask."""
    root = tmp_path_factory.mktemp("blocks")
    rows = ["path,mask,split"]
    for subset, count, seed in (("train", 8, 1), ("val", 4, 2), ("test", 2, 3)):
        for i, (image, mask) in enumerate(zip(*blocks(count, seed=seed), strict=True)):
            Image.fromarray(image.transpose(1, 2, 0)).save(root / f"{subset}{'abcdefgh'[i]}.png")
            Image.fromarray(mask).save(root / f"{subset}{'abcdefgh'[i]}-mask.png")
            rows.append(f"{subset}{'abcdefgh'[i]}.png,{subset}{'abcdefgh'[i]}-mask.png,{subset}")
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    (root / "classes.txt").write_text("a\nb\nc\n")
    return read_dataset(list_data(root / "table.csv"), TrainConfig(), ScanOptions(), lambda _: None)


def context_of(dataset, *, budget=float("inf"), **given):
    preprocess = Preprocess(resize="fit", size=96, height=64, scale=1.0, interpolation="bilinear")
    clock = Clock(budget)
    return runs.context_of(
        dataset.split, target=dataset.target, clock=clock, evaluation=0.0, preprocess=preprocess, **given
    )


def strategies(*names):
    return tuple(SegmentationStrategy(replace(QUICK, name=name, **TINY)) for name in names)


@pytest.mark.parametrize(("seconds", "sole"), [(40, True), (4000, False)])
def test_where_nothing_can_follow_the_quick_strategy_has_all_the_time(dataset, seconds, sole):
    """It took 15 % of what was left, 19 steps, and the rest of the time was not used."""
    speed = {f"one@{h}x{w}px/step_seconds": 0.2 for h in (32, 64) for w in (32, 64, 96)}
    longer = replace(FULL, name="two", **TINY | {"least_steps": 150, "epochs": 9})
    first = SegmentationStrategy(replace(QUICK, name="one", **TINY), longer)
    context = context_of(dataset, budget=seconds, made={"device": runs.CPU, "one/steps": 2, **speed})
    settings = first.fit(context, LadderState()).settings
    assert context.decisions.made["one/sole_strategy"]["value"] is sole
    assert (settings["time_share"], settings["epochs"]) == ((1.0, 9) if sole else (QUICK.time_share, 8))
    pinned = context_of(
        dataset,
        budget=seconds,
        made={"device": runs.CPU, "one/steps": 2, **speed},
        config=TrainConfig(strategy="one"),
    )
    assert first.fit(pinned, LadderState()).settings["time_share"] == 1.0


@pytest.mark.parametrize("recipe", [QUICK, FULL], ids=lambda recipe: recipe.name)
def test_a_strategy_learns_and_its_bundle_predicts_what_was_scored(dataset, recipe):
    context = context_of(dataset)
    small = {"options": {"widths": [16, 16, 16]}} if recipe is FULL else {}
    strategy = SegmentationStrategy(replace(recipe, **TINY, **small))
    assert 0 < strategy.estimate(context, LadderState()) < 600
    candidate = strategy.fit(context, LadderState())
    assert candidate.score > 0.5 and candidate.score_n == 4
    assert candidate.score_ci95 is None or candidate.score_ci95[0] <= candidate.score
    steps = context.decisions.made[f"{recipe.name}/steps"]["value"]
    assert candidate.settings["outcome"]["steps"] == steps == 16
    assert len(candidate.seen["test"]) == 2 and candidate.logits == {}
    module = with_weights(candidate.trained.network, candidate.trained.tensors)
    records = context.split.subset("val")
    pixels, masks = context.pairs(records)
    predicted = predict_masks(module, pixels, context.preprocess)
    assert [p.shape for p in predicted] == [(64, 96)] * 4
    first = records[0].record.sha256
    assert np.array_equal(confusion(predicted[0], masks[0], 3), candidate.evidence.counts[first])


def test_the_second_strategy_tests_mirroring_on_the_first_and_a_replay_has_the_same_weights(dataset):
    context = context_of(dataset)
    result = search(strategies("one", "two"), context)
    assert [c.strategy for c in result.candidates] == ["one", "two"]
    made = context.decisions.made
    assert isinstance(made["hflip"]["value"], bool) and isinstance(made["two/keep"]["value"], bool)
    assert result.best.strategy == made["strategy"]["value"] == ("two" if made["two/keep"]["value"] else "one")
    again = context_of(dataset, made={name: decision["value"] for name, decision in made.items()})
    repeated = search(strategies("one", "two"), again)
    ours, theirs = result.best.trained.tensors, repeated.best.trained.tensors
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[k], theirs[k]) for k in ours)
