"""Fine-tunes a pretrained network: all of it, or the layers above a frozen part.

The head first, then the rest (LP-FT, Kumar et al. 2022): a random head would spoil the features before it learns.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.clock import Clock, Deadline
from foveal.data.images.pixels import Pixels
from foveal.decisions import IMAGE_SECONDS, PREDICTION_SECONDS
from foveal.models.finetuned import FineTunedNetwork, pretrained
from foveal.training.batches.arrays import Batches, logits_of, prediction_batch_size
from foveal.training.batches.feature_maps import FeatureMapBatches
from foveal.training.context import RunContext
from foveal.training.linear_head import fit_head
from foveal.training.loop.device import choose_device
from foveal.training.loop.memory_plan import has_room, prediction_batch
from foveal.training.loop.task import LoopSettings, Loss
from foveal.training.recipes.augmentation import Augment
from foveal.training.recipes.finetune import FineTuneRecipe
from foveal.training.time_budget import FORWARD_SHARE, READ_SECONDS, steps_that_fit
from foveal.training.trainers import base
from foveal.training.trainers.base import (
    Array,
    InitialWeights,
    Trainer,
    Training,
    load_weights,
    measure_step,
    run_training,
    weights_of,
)
from foveal.training.trainers.feature_maps import FrozenTrunk
from foveal.values import SplitRecord

Labels = NDArray[np.int64]

#: Images that the first head is fitted on, at most.
_HEAD_IMAGES = 3000
#: C × n of that head: it is a beginning, and should not be confident.
_HEAD_STRENGTH = 4.0
#: Augmented images activate features that plain ones leave near zero: on letters such a head's loss began at 27 for
#: them, and at 0.8 with this floor.
_HEAD_FLOOR = 0.1
_OPTIMIZER = "adamw"
#: What a head may be divided by before the layers below it are trained.
_TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
#: Steps between checks of the loss: trainings are short.
_CHECK_EVERY = 25


class FineTuneTrainer(Trainer):
    """One recipe at one image size.

    Args:
        recipe: how to fine-tune.
        context: of the run.
        size: side of the input, pixels.
        augment: with lengths in pixels.
    """

    def __init__(self, recipe: FineTuneRecipe, context: RunContext, size: int, augment: Augment) -> None:
        backbone = context.features.backbone
        self.recipe, self.context, self.size, self.augment = recipe, context, size, augment
        self.preprocess = replace(context.features.preprocess, size=size)
        self.network = {
            "architecture": "tuned",
            "backbone": backbone.name,
            "dimension": backbone.dimension,
            "classes": len(context.split.classes),
        }
        self.device = choose_device(context.decisions, self.network, (3, size, size), room=has_room(context))

    @property
    @abstractmethod
    def cut(self) -> int:
        """Segments below it are frozen; 0: none are."""

    @abstractmethod
    def _module(self, network: FineTunedNetwork) -> nn.Module:
        """What is trained of a network, with shared weights."""

    @abstractmethod
    def _batches(
        self, network: FineTunedNetwork, records: Sequence[SplitRecord], pixels: Pixels, labels: Labels, steps: int
    ) -> Batches | FeatureMapBatches:
        """Inputs and labels for what is trained, over so many steps."""

    @abstractmethod
    def _measured(self) -> tuple[float, str]:
        """Seconds per image of training, and how they were measured."""

    @abstractmethod
    def _forward_seconds(self) -> float:
        """Per image, of the part that features for the head need."""

    def image_seconds(self) -> float:
        """Per training image: measured over a few steps on noise, and remembered among the decisions."""
        return self.context.decisions.settle(IMAGE_SECONDS.of(self._subject), self._measured)

    def step_seconds(self) -> float:
        """See `Trainer`."""
        return self.image_seconds() * self.recipe.batch_size

    def epoch_seconds(self, records: Sequence[SplitRecord]) -> float:
        """To train once on each of these images."""
        return self.image_seconds() * len(records)

    def all_steps(self, records: Sequence[SplitRecord]) -> int:
        """See `Trainer`."""
        per_epoch = max(1, len(records) // self.recipe.batch_size)
        return max(self.recipe.least_steps, round(self.recipe.epochs * per_epoch))

    def steps_that_fit(self, records: Sequence[SplitRecord], seconds: float) -> tuple[int, str]:
        """See `Trainer`; an incomplete batch at the end of an epoch counts with the others."""
        per_epoch = max(1, len(records) // self.recipe.batch_size)
        return steps_that_fit(self.all_steps(records), self.epoch_seconds(records) / per_epoch, seconds)

    def preparation_seconds(self, records: Sequence[SplitRecord]) -> float:
        """Before the first step: reading these images, and the first head."""
        known = self.context.features.preprocess == self.preprocess
        images = 0 if known else min(len(records), _HEAD_IMAGES)
        return (READ_SECONDS + self._forward_seconds()) * images + READ_SECONDS * len(records)

    def prediction_seconds(self, count: int) -> float:
        """See `Trainer`; reading the images is in it."""
        if not count:
            return 0.0
        decision = PREDICTION_SECONDS.of(self._subject)
        return (READ_SECONDS + self.context.decisions.settle(decision, self._measured_prediction)) * count

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
        """See `Trainer`; by default from the pretrained weights, with a head fitted on their features."""
        context, recipe = self.context, self.recipe
        pixels, labels = context.images.rendered(records, self.preprocess), context.targets(records)
        torch.manual_seed(context.config.seed)
        network = self._fresh() if start else self._with_head(records, pixels, labels)
        batches = self._batches(network, records, pixels, labels, steps + (start[1] if start else 0))
        if start:
            load_weights(network, start[0])
        else:
            calibrate_initial_head(network, self.cut, *batches(0), context.target.loss())
        settings = LoopSettings(
            steps,
            recipe.lr,
            max_steps,
            scale_lr_by_rms=True,
            head_lr_mult=recipe.head_lr_mult,
            cosine=True,
            optimizer=_OPTIMIZER,
            weight_decay=recipe.weight_decay,
            warmup=recipe.warmup,
            label_smoothing=recipe.label_smoothing,
            ema=recipe.ema,
            precision=self.device.precision,
            divergence_threshold=context.target.initial_loss(context.split.classes),
            check_every=_CHECK_EVERY,
        )
        loss = context.target.loss(label_smoothing=recipe.label_smoothing)
        module, before = self._module(network), weights_of(network)
        outcome, complete = run_training(
            name, module, batches, settings, loss, context, seed=context.config.seed, deadline=deadline
        )
        network.zero_grad(set_to_none=True)
        return Training(
            network.eval(),
            {
                **asdict(recipe),
                "size": self.size,
                "cut": self.cut,
                "augment": self.augment.to_dict(),
                "outcome": asdict(outcome),
            },
            outcome,
            complete,
            before,
        )

    def predict(self, module: nn.Module, records: Sequence[SplitRecord]) -> Array:
        """See `Trainer`."""
        if not records:
            return np.zeros((0, len(self.context.split.classes)), dtype=np.float32)
        pixels = self.context.images.rendered(records, self.preprocess)
        return logits_of(module, pixels, self.preprocess, self.device.name, self._batch_size(module))

    @property
    def _subject(self) -> str:
        """Of decisions about speed."""
        return f"{self.recipe.name}@{self.size}px"

    def _batch_size(self, module: nn.Module) -> int:
        """Of predictions."""
        most = prediction_batch_size(self.size, self.device.name)
        return prediction_batch(module, (3, self.size, self.size), most, self.context)

    def _fresh(self) -> FineTunedNetwork:
        network = pretrained(self.context.features.backbone, len(self.context.split.classes))
        return network.to(self.device.name, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _with_head(self, records: Sequence[SplitRecord], pixels: Pixels, labels: Labels) -> FineTunedNetwork:
        """The pretrained network with a head fitted on its features at this size."""
        network = self._fresh()
        order = np.random.default_rng(self.context.config.seed).permutation(len(pixels))
        some = of_all_classes(order, labels)
        if len(np.unique(labels[some])) < len(self.context.split.classes):
            return network
        with self.context.clock.lap("features"):
            rows = self._known_features([records[i] for i in some])
            if rows is None:
                rows = self._trunk(network).features(pixels[some])
        with self.context.clock.lap("fit"):
            head = fit_head(rows[None], labels[some], _HEAD_STRENGTH, floor=_HEAD_FLOOR)
        with torch.no_grad():
            network.head.weight.copy_(torch.from_numpy(head.weight))
            network.head.bias.copy_(torch.from_numpy(head.bias))
        return network

    def _known_features(self, records: Sequence[SplitRecord]) -> Array | None:
        """Features from the linear probes before, where their images were of this size."""
        extractor, images = self.context.features, [p.record for p in records]
        if extractor.preprocess != self.preprocess:
            return None
        table = extractor.run(images, deadline=Deadline(Clock()))  # without them others take as long, and differ
        if any(r.sha256 not in table.rows for r in images):
            return None
        return table.of(images)[:, : extractor.backbone.dimension]

    def _trunk(self, network: FineTunedNetwork) -> FrozenTrunk:
        return FrozenTrunk(
            self.context,
            self.preprocess,
            network,
            self.cut,
            self.augment,
            self.device,
            self._batch_size(network),
        )

    def _shown(self, pixels: Pixels, labels: Labels, seed: int) -> Batches:
        """Augmented images in batches."""
        return Batches(
            pixels,
            labels,
            self.preprocess,
            size=self.recipe.batch_size,
            augment=self.augment,
            seed=seed,
            device=self.device.name,
        )

    def _noise(self) -> Batches:
        """One batch of noise, to measure speed on."""
        n, size = self.recipe.batch_size, self.size
        pixels = np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8)
        return self._shown(pixels, np.zeros(n, dtype=np.int64), seed=0)

    def _step(self, module: nn.Module, batches: base.Batches) -> float:
        """Seconds of one step."""
        return measure_step(
            module, batches, self.device, self.context, optimizer=_OPTIMIZER, loss=self.context.target.loss()
        )

    def _measured_prediction(self) -> tuple[float, str]:
        network, taken = self._fresh(), []
        count = self._batch_size(network)
        pixels = np.random.default_rng(0).integers(0, 256, (count, 3, self.size, self.size), dtype=np.uint8)
        for _ in range(3):
            began = time.perf_counter()
            logits_of(network, pixels, self.preprocess, self.device.name, count)
            taken.append(time.perf_counter() - began)
        return min(taken) / count, f"measured on {count} images"


class FullTrainer(FineTuneTrainer):
    """Trains all layers."""

    @property
    def cut(self) -> int:
        """Nothing is frozen."""
        return 0

    def _module(self, network: FineTunedNetwork) -> nn.Module:
        return UpperLayers(network, 0)

    def _batches(
        self, network: FineTunedNetwork, records: Sequence[SplitRecord], pixels: Pixels, labels: Labels, steps: int
    ) -> Batches:
        return self._shown(pixels, labels, self.context.config.seed)

    def _forward_seconds(self) -> float:
        return self.image_seconds() * FORWARD_SHARE

    def _measured(self) -> tuple[float, str]:
        return self._step(self._fresh(), self._noise()) / self.recipe.batch_size, "measured over a few steps"


class CachedTrunkTrainer(FineTuneTrainer):
    """Trains the layers above a frozen part, whose feature maps of several augmented views are cached."""

    @property
    def cut(self) -> int:
        """At the recipe's share of the cost."""
        return self.context.features.backbone.cut_at(self.recipe.frozen_share_at(self.size))

    def _module(self, network: FineTunedNetwork) -> nn.Module:
        return UpperLayers(network, self.cut)

    def _batches(
        self, network: FineTunedNetwork, records: Sequence[SplitRecord], pixels: Pixels, labels: Labels, steps: int
    ) -> FeatureMapBatches:
        recipe = self.recipe
        epochs = steps * min(recipe.batch_size, len(labels)) / max(1, len(labels))
        # As many per epoch as when all epochs fit, which is what the speed was measured for.
        per_epoch = recipe.views / recipe.epochs
        count = max(min(2, recipe.views), min(recipe.views, round(epochs * per_epoch)))
        views, rows = self._trunk(network).views(records, count)
        return FeatureMapBatches(
            views, rows, labels, size=recipe.batch_size, seed=self.context.config.seed, device=self.device.name
        )

    def _forward_seconds(self) -> float:
        return self.image_seconds()

    def _measured(self) -> tuple[float, str]:
        """With its share of the cached views."""
        n, network, noise, taken = self.recipe.batch_size, self._fresh(), self._noise(), []
        trunk = self._trunk(network)
        for turn in range(3):
            began = time.perf_counter()
            maps = trunk.maps_of(noise(turn)[0])
            taken.append(time.perf_counter() - began)
        inputs = torch.from_numpy(maps).to(self.device.name, memory_format=torch.channels_last)
        targets = torch.zeros(n, dtype=torch.long, device=self.device.name)
        upper = self._step(UpperLayers(network, self.cut), _OneBatch(inputs, targets))
        share = self.recipe.views / self.recipe.epochs
        return (
            (upper + min(taken) * share) / n,
            f"measured: frozen part {1000 * min(taken) / n:.1f} ms, above it {1000 * upper / n:.1f} ms",
        )


class UpperLayers(nn.Module):
    """The segments from `cut` on, and the head; the weights are shared with the network."""

    def __init__(self, network: FineTunedNetwork, cut: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(list(network.segments.parts)[cut:])
        self.head = network.head

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps `(N, C, H, W)` to logits."""
        for part in self.parts:
            x = part(x)
        logits: Tensor = self.head(x)
        return logits


class _OneBatch:
    """The same batch at every step."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.size, self._batch = len(inputs), (inputs, targets)

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        return self._batch


def calibrate_initial_head(
    network: FineTunedNetwork, cut: int, inputs: Tensor, targets: Tensor, loss: Loss
) -> None:
    """Divide the head by its best temperature on augmented images.

    Fitted on a few plain images it is far too confident on augmented ones: losses of 70 began trainings whose first
    steps destroyed the network.
    """
    with torch.inference_mode():
        logits = network.upper(inputs, cut).float()
        losses = [float(loss(logits / t, targets)) for t in _TEMPERATURES]
    best = _TEMPERATURES[int(np.nanargmin(losses))] if not all(map(math.isnan, losses)) else 1.0
    with torch.no_grad():
        network.head.weight.div_(best)
        network.head.bias.div_(best)


def of_all_classes(order: NDArray[np.int64], labels: Labels) -> NDArray[np.int64]:
    """The beginning of an order of images, as many as a head is fitted on; one of each class is among them."""
    if len(order) <= _HEAD_IMAGES:
        return order
    firsts = np.unique(labels[order], return_index=True)[1]
    return np.concatenate([order[firsts], np.delete(order, firsts)])[: max(_HEAD_IMAGES, len(firsts))]
