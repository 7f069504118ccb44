"""Compares decoders for segmentation: all are trained on the same crops, for the same number of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from foveal.data.targets.mask_loss import class_weights, segmentation_loss
from foveal.metrics.segmentation import Counts, boundary_counts, confusion, mean_boundary_f1, miou
from foveal.models.segmentation.network import CropSegmenter, Segmenter, segmenter
from foveal.training.batches.crops import Crops, Stack
from foveal.training.loop.loop import train_network
from foveal.training.loop.task import TrainTask
from foveal.training.recipes.segmentation import SegmentationRecipe
from foveal.training.trainers.segmentation import crop_options, loop_settings, predict_masks
from foveal.values import Backbone, Preprocess


@dataclass(frozen=True)
class DecoderResult:
    """One network, trained with one seed and evaluated on the test images.

    Attributes:
        decoder, seed: which network.
        miou, boundary_f1: from 0 to 1.
        counts: confusion of each image, `(N, K, K)`.
        boundaries: `metrics.segmentation.boundary_counts` of each image, `(N, K, 4)`.
        loss, seconds, steps: of the training.
    """

    decoder: str
    seed: int
    miou: float
    boundary_f1: float
    counts: Counts
    boundaries: Counts
    loss: float
    seconds: float
    steps: int


def compare_decoders(
    train: tuple[Stack, Stack],
    test: tuple[Stack, Stack],
    *,
    classes: int,
    backbone: Backbone,
    decoders: Sequence[str] = ("fcn32s", "fcn16s", "fcn8s", "unet"),
    seeds: Sequence[int] = (0,),
    steps: int = 200,
    recipe: SegmentationRecipe | None = None,
    mirror: bool = False,
    on_result: Callable[[DecoderResult], None] = lambda _: None,
) -> list[DecoderResult]:
    """Train and evaluate each decoder with each seed.

    Args:
        train, test: images `(3, H, W)` and masks `(H, W)`, `uint8`, all of the same size.
        classes: K.
        backbone: its weights initialise the encoders.
        decoders: which to compare.
        seeds: of the order, the crops and the decoders' initial weights.
        steps: of each training.
        recipe: the recipe, except for the decoder.
        mirror: whether crops may be flipped horizontally.
        on_result: called with each result.
    """
    results = []
    for seed in seeds:
        for decoder in decoders:
            chosen = recipe or SegmentationRecipe(decoder, decoder)
            torch.manual_seed(seed)
            options: dict[str, Any] = dict(chosen.options) if decoder == chosen.decoder else {}
            module = segmenter(decoder, classes, backbone, **options)
            outcome = _train(module, chosen, train, backbone.preprocess, classes, steps, seed, mirror)
            predictions = predict_masks(module.eval(), test[0], backbone.preprocess)
            pairs = list(zip(predictions, map(np.asarray, test[1]), strict=True))
            counts = np.stack([confusion(p, t, classes) for p, t in pairs])
            boundaries = np.stack([boundary_counts(p, t, classes) for p, t in pairs])
            results.append(
                DecoderResult(
                    decoder,
                    seed,
                    miou(counts.sum(0)),
                    mean_boundary_f1(boundaries.sum(0)),
                    counts,
                    boundaries,
                    outcome["loss"],
                    outcome["seconds"],
                    outcome["steps"],
                )
            )
            on_result(results[-1])
    return results


def _train(
    module: Segmenter,
    recipe: SegmentationRecipe,
    train: tuple[Stack, Stack],
    preprocess: Preprocess,
    classes: int,
    steps: int,
    seed: int,
    mirror: bool,
) -> Mapping[str, Any]:
    pixels, masks = train
    height, width = np.shape(masks[0])
    options = crop_options(recipe, "auto", (height, width), module.scale, hflip=mirror)
    batches = Crops(pixels, masks, preprocess, size=recipe.batch_size, options=options, classes=classes, seed=seed)
    network = CropSegmenter(module).to(memory_format=torch.channels_last)
    weights = class_weights(masks, classes, recipe.class_weight_power)
    loss = segmentation_loss(weights, recipe.dice_weight)
    task = TrainTask(recipe.name, network, batches, loss, seed=seed, batch_size=batches.size)
    return asdict(train_network(task, loop_settings(recipe, steps)))
