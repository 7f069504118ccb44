"""Trains networks from scratch: the small ones of the recipes, and any that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.clock import Deadline
from foveal.data.images.pixels import Pixels
from foveal.decisions import BATCH_SIZE, EPOCH_SECONDS, NORMALIZATION
from foveal.models.networks import build, with_weights
from foveal.models.small import SHIFTS
from foveal.models.trained import TrainedModel
from foveal.planner.fake_network import built
from foveal.training.batches.arrays import Batches, logits_of
from foveal.training.context import RunContext
from foveal.training.fresh_network import check_classes
from foveal.training.loop.device import choose_device
from foveal.training.loop.memory_plan import has_room
from foveal.training.loop.task import LoopSettings
from foveal.training.recipes.augmentation import augment_for
from foveal.training.recipes.scratch import ScratchRecipe
from foveal.training.time_budget import (
    BUNDLE_BYTES_PER_SECOND,
    FEW_STEPS,
    FORWARD_SHARE,
    FP32_SLOWDOWN,
    PLANNED_SHARE,
    SMALLEST_BATCH,
)
from foveal.training.trainers.base import (
    Array,
    InitialWeights,
    Trainer,
    Training,
    load_weights,
    measure_step,
    run_training,
)
from foveal.values import Preprocess, SplitRecord


class ScratchTrainer(Trainer):
    """One recipe on the training subset of a run.

    Args:
        recipe: the network and how it is trained.
        context: of the run.
        hflip: whether half of the training images are mirrored.
    """

    def __init__(self, recipe: ScratchRecipe, context: RunContext, *, hflip: bool = False) -> None:
        self.recipe, self.context = recipe, context
        size, classes = context.preprocess.size, len(context.split.classes)
        shape = (context.preprocess.channels, size, size)
        self.network = recipe.network(shape[0], classes, size)
        check_classes(self.network, recipe.name, shape, classes)
        self.preprocess = normalized(context)
        self.device = choose_device(context.decisions, self.network, shape, room=has_room(context))
        self.augment = replace(augment_for(context.config.augment, recipe.augment, size), hflip=hflip)
        self._labels = context.targets(context.split.subset("train"))
        self._step_seconds: dict[int, float] = {}  # by batch size

    @cached_property
    def batch_size(self) -> int:
        """The recipe's, or less where the time has room for too few steps of that size."""
        if not self.recipe.definition:
            return self.recipe.batch_size
        return self.context.decisions.settle(BATCH_SIZE.of(self.recipe.name), self._fitting_batch_size)

    def batches(self, seed: int, size: int | None = None, records: Sequence[SplitRecord] | None = None) -> Batches:
        """Images in batches, of the trainer's own size and of the training subset by default."""
        return Batches(
            self._pixels(records) if records else self.context.pixels("train"),
            self.context.targets(records) if records else self._labels,
            self.preprocess,
            size=size or self.batch_size,
            augment=self.augment,
            seed=seed,
            device=self.device.name,
        )

    def epoch_seconds(self) -> float:
        """Measured over a few steps, and remembered among the decisions, so that a replay plans the same."""

        def measured() -> tuple[float, str]:
            return self._measured(self.batch_size) * self.batches(0).per_epoch, "measured over a few steps"

        return self.context.decisions.settle(EPOCH_SECONDS.of(self.recipe.name), measured)

    def step_seconds(self) -> float:
        """See `Trainer`; 0 where time is not limited, and nothing has to be measured."""
        if self.context.deadline.left() == float("inf"):
            return 0.0
        return self.epoch_seconds() / self.batches(0).per_epoch

    def all_steps(self, records: Sequence[SplitRecord]) -> int:
        """See `Trainer`."""
        per_epoch = max(1, len(records) // min(self.batch_size, len(records)))
        return max(self.recipe.least_steps, round(self.recipe.epochs * per_epoch))

    def prediction_seconds(self, count: int) -> float:
        """See `Trainer`; 0 where time is not limited."""
        if self.context.clock.budget == float("inf"):
            return 0.0
        views = (SHIFTS if self.recipe.shifts else 1) * (2 if self._mirrored_views else 1)
        per_image = self.epoch_seconds() / max(1, len(self._labels))
        forward = FORWARD_SHARE * (FP32_SLOWDOWN if self.device.precision == "bf16" else 1)
        weights: int = sum(t.nbytes for t in built(lambda: build(self.network)).state_dict().values())
        return (per_image * forward * count * views + weights / BUNDLE_BYTES_PER_SECOND) * self.recipe.members

    def train(
        self,
        name: str,
        records: Sequence[SplitRecord],
        steps: int,
        *,
        deadline: Deadline,
        max_steps: int = 0,
        start: InitialWeights | None = None,
        member: int = 0,
    ) -> Training:
        """See `Trainer`; each `member` of an ensemble has a seed of its own."""
        r, seed = self.recipe, self.context.config.seed * 1000 + member
        settings = LoopSettings(
            steps=steps,
            max_steps=max_steps,
            lr=r.lr,
            optimizer=r.optimizer,
            weight_decay=r.weight_decay,
            warmup=r.warmup,
            ema=r.ema,
            label_smoothing=r.label_smoothing,
            precision=self.device.precision,
        )
        torch.manual_seed(seed)
        module = self._fresh()
        if start:
            load_weights(module, start[0])
        loss, batches = (
            self.context.target.loss(label_smoothing=r.label_smoothing),
            self.batches(seed, None, records),
        )
        outcome, complete = run_training(
            name, module, batches, settings, loss, self.context, seed=seed, deadline=deadline
        )
        return Training(module, asdict(outcome), outcome, complete)

    def gather(self, members: Sequence[nn.Module]) -> TrainedModel:
        """One model of all members, which averages their predictions, over the views that the recipe says."""
        spec, module = self.network, members[0]
        if len(members) > 1:
            spec = {"architecture": "ensemble", "member": spec, "count": len(members)}
            module = build(spec)
            module.load_state_dict(
                {f"members.{i}.{k}": v for i, m in enumerate(members) for k, v in m.state_dict().items()}
            )
        tensors = {k: v.detach().cpu().numpy() for k, v in module.state_dict().items()}
        if self.recipe.shifts or self._mirrored_views:
            views = {"pixels": self.recipe.shifts, "mirror": self._mirrored_views}
            spec = {"architecture": "shifted", "inner": spec, **views}
            tensors = {f"inner.{k}": v for k, v in tensors.items()}
        return TrainedModel(tensors, self.preprocess, network=spec)

    def predict(self, module: nn.Module, records: Sequence[SplitRecord]) -> Array:
        """See `Trainer`."""
        if not records:
            return np.zeros((0, len(self.context.split.classes)), dtype=np.float32)
        return logits_of(module, self._pixels(records), self.preprocess, self.device.name)

    @property
    def _mirrored_views(self) -> bool:
        return self.recipe.mirrored_views and self.augment.hflip

    def _pixels(self, records: Sequence[SplitRecord]) -> Pixels:
        """A whole subset is read once; anything else as it is asked for."""
        subset = records[0].subset
        if len(records) == len(self.context.split.subset(subset)):
            return self.context.pixels(subset)
        return self.context.images.rendered(records, self.context.preprocess)

    def _fresh(self) -> nn.Module:
        return build(self.network).to(self.device.name, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _fitting_batch_size(self) -> tuple[int, str]:
        size, left = self.batches(0, self.recipe.batch_size).size, self.context.deadline.left()
        if left == float("inf"):
            return size, "time is not limited"
        seconds = self._measured(size)
        fits, whole = left * PLANNED_SHARE / seconds, size
        while fits < FEW_STEPS and size > SMALLEST_BATCH:
            size, fits = max(SMALLEST_BATCH, size // 2), fits * 2
        return size, f"a step of {whole} takes {seconds:.2g} s here, {left:.0f} s are left"

    def _measured(self, size: int) -> float:
        """Seconds of a step with so many images."""
        if size not in self._step_seconds:
            self._step_seconds[size] = measure_step(
                self._fresh(),
                self.batches(0, size),
                self.device,
                self.context,
                optimizer=self.recipe.optimizer,
                loss=self.context.target.loss(),
            )
        return self._step_seconds[size]


def predict_pixels(
    trained: TrainedModel, pixels: Pixels, classes: int, *, device: str = "cpu"
) -> NDArray[np.float32]:
    """Logits `(N, K)` of a network with K `classes` for rendered images `(N, C, H, W)`."""
    assert trained.network is not None
    module = with_weights(trained.network, trained.tensors).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    logits = logits_of(module, pixels, trained.preprocess, device)
    return logits if len(pixels) else np.zeros((0, classes), dtype=np.float32)


def normalized(context: RunContext) -> Preprocess:
    """The run's preprocessing with mean and standard deviation of the training subset, by channel."""

    def measured() -> tuple[dict[str, Any], str]:
        pixels = context.pixels("train")
        counts = [np.bincount(pixels[:, c].ravel(), minlength=256) for c in range(pixels.shape[1])]
        levels = np.arange(256)
        means = [float((levels * n).sum() / n.sum()) for n in counts]
        deviations = [
            max(1.0, float(np.sqrt((((levels - m) ** 2) * n).sum() / n.sum())))
            for m, n in zip(means, counts, strict=True)
        ]
        repeat = 3 // len(counts)
        return {"mean": means * repeat, "std": deviations * repeat}, "of the training subset's pixels"

    measured_values = context.decisions.settle(NORMALIZATION, measured)
    return replace(context.preprocess, mean=tuple(measured_values["mean"]), std=tuple(measured_values["std"]))
