"""Outputs of the frozen part of a network: features for the head that is fitted first, and feature maps of augmented
views for the layers above it.

Both come from OpenVINO where that computes the backbone, in a fifth of torch's time; views of the training subset are
computed once a run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.data.images.pixels import Pixels, allocate
from foveal.models.finetuned import FineTunedNetwork
from foveal.models.normalisation import Normalisation
from foveal.training.batches.augment import augmented
from foveal.training.context import RunContext
from foveal.training.loop.device import Device
from foveal.training.recipes.augmentation import Augment
from foveal.values import Preprocess, SplitRecord

Array = NDArray[np.float32]
Half = NDArray[np.float16]
#: Normalised images → what the frozen part computes of them.
Runner = Callable[[Tensor], Array]


@dataclass(frozen=True)
class FrozenTrunk:
    """The frozen part of one network at one image size.

    Attributes:
        context: of the run.
        preprocess: of the images, at the size of the network's input.
        network: in torch, for where OpenVINO does not compute the backbone.
        cut: segments below it are frozen.
        augment: of the views, with lengths in pixels.
        device: of torch, and the precision that the rest is trained in.
        batch_size: images at once.
    """

    context: RunContext
    preprocess: Preprocess
    network: FineTunedNetwork
    cut: int
    augment: Augment
    device: Device
    batch_size: int

    def features(self, pixels: Pixels) -> Array:
        """Of the whole backbone, `(N, dimension)`."""
        run, rows = self._runner(whole=True), []
        for start in range(0, len(pixels), self.batch_size):
            rows.append(run(self._normalised(pixels, start)))
        return np.concatenate(rows)

    def views(self, records: Sequence[SplitRecord], count: int) -> tuple[list[Half], NDArray[np.int64]]:
        """Feature maps of augmented views, each `(M, C, H, W)`, and the row of each of these images in them.

        Views hold the whole training subset, since a training on a part of it may continue with all; so an image is
        augmented alike in both.
        """
        everything = self.context.split.subset("train")
        key = (self.preprocess, self.cut, self.augment)
        known = self.context.frozen_maps.views.setdefault(key, [])
        if len(known) < count:
            pixels = self.context.images.rendered(everything, self.preprocess)
            run, total = self._runner(whole=False), (count - len(known)) * len(everything)
            with (
                self.context.clock.lap("features"),
                self.context.progress.stage("augmented feature maps", total) as bar,
            ):
                while len(known) < count:
                    known.append(self._view(len(known), pixels, run, bar))
        rows = {p.record.sha256: i for i, p in enumerate(everything)}
        return known[:count], np.array([rows[p.record.sha256] for p in records], dtype=np.int64)

    def maps_of(self, batch: Tensor) -> Array:
        """Of normalised images `(N, 3, H, W)`."""
        return self._runner(whole=False)(batch)

    def _view(self, number: int, pixels: Pixels, run: Runner, on_each: Callable[[int], None]) -> Half:
        view: Half | None = None
        for start in range(0, len(pixels), self.batch_size):
            batch = self._normalised(pixels, start)
            generator = torch.Generator().manual_seed(
                (self.context.config.seed * 1009 + number) * 1_000_003 + start
            )
            maps = run(augmented(batch, self.augment, generator))
            if view is None:
                shape = (len(pixels), *maps.shape[1:])
                view = allocate(shape, np.float16, self.context.memory.cached_view)
            view[start : start + self.batch_size] = maps
            on_each(len(batch))
        assert view is not None
        return view

    def _normalised(self, pixels: Pixels, start: int) -> Tensor:
        batch = torch.from_numpy(np.array(pixels[start : start + self.batch_size]))
        return Normalisation(self.preprocess, self.device.name)(batch)

    @property
    def _compiled(self) -> bool:
        """Whether OpenVINO computes it: a graph that ships takes any size, one exported here only its own."""
        features = self.context.features
        ships = features.backbone.graph is not None
        return self.device.name == "cpu" and ships and features.engine.name == "openvino"

    def _runner(self, *, whole: bool) -> Runner:
        if not self._compiled:
            return self._in_torch(whole=whole)
        key = (self.preprocess, None if whole else self.cut)
        runners = self.context.frozen_maps.runners
        if key not in runners:
            from foveal.engines.openvino_engine import leading_stages

            # Of features more is asked of bf16: that predictions stay the same. The layers trained above maps adapt.
            backbone, precision = self.context.features.backbone, self.device.precision
            stage = None if whole else backbone.stage_below(self.cut)
            runners[key] = leading_stages(backbone, self.preprocess.size, stage, precision)
        run: Callable[[Array], Array] = runners[key]
        return lambda batch: run(batch.contiguous().numpy())

    def _in_torch(self, *, whole: bool) -> Runner:
        def run(batch: Tensor) -> Array:
            batch = batch.contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                maps = self.network.forward_features(batch) if whole else self.network.lower(batch, self.cut)
            values: NDArray[Any] = maps.float().cpu().numpy()
            return values

        return run
