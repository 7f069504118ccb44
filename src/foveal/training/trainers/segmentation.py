"""Trains segmenters on random crops; they predict whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.clock import Deadline
from foveal.data.targets.mask_files import Mask
from foveal.data.targets.mask_loss import class_weights
from foveal.decisions import STEP_SECONDS
from foveal.models.backbones import find_backbone
from foveal.models.normalisation import Normalisation
from foveal.models.segmentation.network import CropSegmenter, Segmenter, segmenter
from foveal.training.batches.crops import CropOptions, Crops, Stack
from foveal.training.compare import MaskEvidence
from foveal.training.context import RunContext
from foveal.training.loop.device import choose_device
from foveal.training.loop.memory_plan import has_room
from foveal.training.loop.task import LoopSettings, Loss
from foveal.training.recipes.augmentation import STRENGTHS
from foveal.training.recipes.segmentation import SegmentationRecipe
from foveal.training.time_budget import FORWARD_SHARE, SEGMENTATION_PLANNED_SHARE
from foveal.training.trainers.base import (
    InitialWeights,
    Trainer,
    Training,
    load_weights,
    measure_step,
    run_training,
)
from foveal.values import Preprocess, SplitRecord

Pixels = NDArray[np.uint8]
_OPTIMIZER = "adamw"
#: Steps between checks of the loss.
_CHECK_EVERY = 25


class SegmentationTrainer(Trainer):
    """One recipe at one scale.

    Args:
        recipe: how to train.
        context: of the run.
        scale: of the images that the network sees.
        hflip: whether half of the crops are mirrored.
    """

    def __init__(
        self, recipe: SegmentationRecipe, context: RunContext, scale: float, *, hflip: bool = False
    ) -> None:
        self.recipe, self.context, self.scale, self.hflip = recipe, context, scale, hflip
        self.preprocess = context.preprocess
        self.classes = len(context.split.classes)
        self._backbone = find_backbone(context.config.backbone)
        self.network: dict[str, Any] = {
            "architecture": "segmenter",
            "decoder": recipe.decoder,
            "backbone": self._backbone.name,
            "classes": self.classes,
            "scale": scale,
            **recipe.options,
        }
        self.options = crop_options(recipe, context.config.augment, self.preprocess.box, scale, hflip=hflip)
        shape = (3, self.options.height, self.options.width)
        whole = self.network | {"scale": 1.0}  # crops are at the network's scale already
        self.device = choose_device(context.decisions, whole, shape, room=has_room(context))

    def step_seconds(self) -> float:
        """See `Trainer`: crops of one size cost the same."""
        subject = f"{self.recipe.name}@{self.options.height}x{self.options.width}px"

        def measured() -> tuple[float, str]:
            module = CropSegmenter(self._fresh()).train()
            seconds = measure_step(
                module, self._batches(), self.device, self.context, optimizer=_OPTIMIZER, loss=self._loss()
            )
            return seconds, "measured over a few steps"

        return self.context.decisions.settle(STEP_SECONDS.of(subject), measured)

    def passes_that_fit(self) -> float:
        """How often all pixels of the training subset can be seen, at this scale, in the time left."""
        images = len(self.context.split.subset("train"))
        pixels = images * np.prod(np.shape(self._pairs("train")[1])[1:]) * self.scale**2
        per_step = self.options.height * self.options.width * self._batches().size
        return float(self.planned_seconds() / self.step_seconds() * per_step / max(1, pixels))

    def planned_seconds(self) -> float:
        """For the steps, in the time left."""
        left = self.context.deadline.keeping(self.evaluation_seconds()).left()
        return left * self.recipe.time_share * SEGMENTATION_PLANNED_SHARE

    def all_steps(self, records: Sequence[SplitRecord]) -> int:
        """See `Trainer`."""
        per_epoch = max(1, len(records) // min(self.recipe.batch_size, len(records)))
        return max(self.recipe.least_steps, round(self.recipe.epochs * per_epoch))

    def prediction_seconds(self, count: int) -> float:
        """See `Trainer`."""
        height, width = self.preprocess.box
        crops = count * height * width * self.scale**2 / (self.options.height * self.options.width)
        return FORWARD_SHARE * self.step_seconds() * crops / self._batches().size

    def evaluation_seconds(self) -> float:
        """For predictions on the validation subset, perhaps mirrored as well, and on the test subset."""
        val, test = (len(self.context.split.subset(s)) for s in ("val", "test"))
        return self.prediction_seconds(2 * val + test)

    def train(
        self,
        name: str,
        records: Sequence[SplitRecord],
        steps: int,
        *,
        deadline: Deadline,
        max_steps: int = 0,
        start: InitialWeights | None = None,
    ) -> Training:
        """See `Trainer`; class weights are those of the training subset."""
        r, module, context = self.recipe, self._fresh(), self.context
        if start:
            load_weights(module, start[0])
        settings = loop_settings(r, steps, self.device.precision, max_steps)
        outcome, complete = run_training(
            name,
            CropSegmenter(module),
            self._batches(records),
            settings,
            self._loss(),
            context,
            seed=context.config.seed,
            deadline=deadline,
        )
        return Training(
            module.eval(),
            {
                **asdict(r),
                "scale": self.scale,
                "precision": self.device.precision,
                "crop": asdict(self.options),
                "outcome": asdict(outcome),
            },
            outcome,
            complete,
        )

    def predict(self, module: nn.Module, records: Sequence[SplitRecord]) -> list[Mask]:
        """See `Trainer`."""
        if not records:
            return []
        pixels, _ = self.context.pairs(records)
        return predict_masks(module, pixels, self.preprocess, self.device.name)

    def _pairs(self, subset: Any) -> tuple[Pixels, Mask]:  # noqa: ANN401
        return self.context.pairs(self.context.split.subset(subset))

    def _batches(self, records: Sequence[SplitRecord] | None = None) -> Crops:
        pixels, masks = self.context.pairs(records) if records else self._pairs("train")
        return Crops(
            pixels,
            masks,
            self.preprocess,
            size=self.recipe.batch_size,
            options=self.options,
            classes=self.classes,
            seed=self.context.config.seed,
            device=self.device.name,
        )

    def _loss(self) -> Loss:
        weights = class_weights(self._pairs("train")[1], self.classes, self.recipe.class_weight_power)
        return self.context.target.loss(class_weights=weights, dice=self.recipe.dice_weight)

    def _fresh(self) -> Segmenter:
        torch.manual_seed(self.context.config.seed)
        options: dict[str, Any] = dict(self.recipe.options)
        module = segmenter(self.recipe.decoder, self.classes, self._backbone, scale=self.scale, **options)
        return module.to(self.device.name, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def loop_settings(
    recipe: SegmentationRecipe, steps: int, precision: str = "fp32", max_steps: int = 0
) -> LoopSettings:
    """The recipe as the training loop takes it."""
    return LoopSettings(
        steps,
        recipe.lr,
        max_steps,
        scale_lr_by_rms=True,
        cosine=True,
        backbone_prefix="encoder.",
        backbone_lr_mult=recipe.backbone_lr_mult,
        optimizer=_OPTIMIZER,
        weight_decay=recipe.weight_decay,
        warmup=recipe.warmup,
        ema=recipe.ema,
        precision=precision,
        check_every=_CHECK_EVERY,
    )


def crop_options(
    recipe: SegmentationRecipe, augment: str, size: tuple[int, int], scale: float, *, hflip: bool
) -> CropOptions:
    """How images of `size` (height, width) are cropped at this scale, under `--augment`."""
    height, width = crop_size(recipe, *size, scale)
    if augment == "auto":
        zoom, rotate, stretch = (recipe.min_zoom, recipe.max_zoom), recipe.rotate, recipe.stretch
        colour = recipe.brightness_contrast, recipe.channel_gain
    else:
        strength = STRENGTHS[augment]
        zoom = (1 - strength.scale, 1 + strength.scale)
        rotate, stretch = strength.rotate, strength.shear
        colour = strength.brightness_contrast, strength.channel_gain
    return CropOptions(
        height,
        width,
        min_zoom=scale * zoom[0],
        max_zoom=scale * zoom[1],
        rotate=rotate,
        stretch=stretch,
        class_crop_prob=recipe.class_crop_prob,
        hflip=hflip,
        brightness_contrast=colour[0],
        channel_gain=colour[1],
    )


def crop_size(recipe: SegmentationRecipe, height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width of a crop, multiples of 32: of the images' shape, and no larger than they are at this scale."""
    share = min(1.0, (recipe.crop_area / (height * width * scale**2)) ** 0.5)

    def whole(side: int) -> int:
        return max(32, 32 * round(float(side * scale * share / 32)))

    return whole(height), whole(width)


def predict_masks(
    module: nn.Module, pixels: Stack, preprocess: Preprocess, device: str = "cpu", *, mirrored: bool = False
) -> list[Mask]:
    """Masks `(H, W)` of 8-bit images `(3, H, W)`, one at a time; `mirrored`: of the mirror images, mirrored back."""
    normalise = Normalisation(preprocess, device)
    masks = []
    with torch.inference_mode():
        for image in pixels:
            x = normalise(torch.from_numpy(np.array(image))[None])
            x = (x.flip(3) if mirrored else x).contiguous(memory_format=torch.channels_last)
            best = module(x)[0].argmax(0)
            masks.append((best.flip(1) if mirrored else best).to(torch.uint8).cpu().numpy())
    return masks


def mask_evidence(
    context: RunContext, records: Sequence[SplitRecord], predictions: Sequence[Mask]
) -> MaskEvidence:
    """Predicted masks of these images as evidence."""
    if not records:
        return MaskEvidence({}, {})
    _, masks = context.pairs(records)
    names = [p.record.sha256 for p in records]
    tallies = context.target.tally(predictions, masks, context.split.classes)
    return MaskEvidence(dict(zip(names, tallies, strict=True)), {p.record.sha256: p.group for p in records})
