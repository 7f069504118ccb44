"""What every strategy is given: the data, the budgets, and where choices are written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foveal.clock import Clock, Deadline
from foveal.config import TrainConfig
from foveal.data.images.pixels import Pixels
from foveal.data.images.render_cache import noise
from foveal.data.targets.mask_files import Mask
from foveal.data.targets.target import Target
from foveal.decisions import Decisions
from foveal.engines import choose_engine
from foveal.errors import UsageError
from foveal.features import Extractor
from foveal.memory_budget import MemoryBudget
from foveal.progress import Progress
from foveal.training.images import ImageArrays
from foveal.training.time_budget import TimeBudget
from foveal.values import Backbone, Preprocess, Split, SplitRecord, Subset

if TYPE_CHECKING:
    from foveal.planner.replay import Replay

Array = NDArray[np.float32]


@dataclass
class FrozenMaps:
    """What frozen parts of backbones computed of the training subset, so that it is computed once.

    Attributes:
        runners: compiled parts by (preprocessing, cut); cut None: the whole backbone.
        views: feature maps of augmented views by (preprocessing, cut, augmentation), each `(N, C, H, W)`.
    """

    runners: dict[Any, Any] = field(default_factory=dict)
    views: dict[Any, list[NDArray[np.float16]]] = field(default_factory=dict)


@dataclass(frozen=True)
class RunContext:
    """Everything that a strategy may use.

    Attributes:
        split: the train, validation and test subsets.
        target: what is to be predicted; it owns encoding, loss, score and folds.
        budget: the time, and what of it is reserved.
        progress: of the run.
        decisions: earlier choices are obeyed, new ones written down.
        images: reads images as arrays.
        extractor: features of a frozen backbone; None where nothing is to be frozen.
        preprocess: how images become the input of a network that is trained from scratch.
        checkpoints: the folder for them; None: none are kept.
        config: the settings of the run.
        plans: recordings of training steps, each made once.
        frozen_maps: what frozen parts of backbones computed.
    """

    split: Split
    target: Target
    budget: TimeBudget
    progress: Progress
    decisions: Decisions
    images: ImageArrays
    extractor: Extractor | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)
    checkpoints: Path | None = None
    config: TrainConfig = field(default_factory=TrainConfig)
    plans: dict[Any, Replay] = field(default_factory=dict, repr=False)
    frozen_maps: FrozenMaps = field(default_factory=FrozenMaps, repr=False)

    @property
    def clock(self) -> Clock:
        """Of the run."""
        return self.budget.clock

    @property
    def deadline(self) -> Deadline:
        """By when a strategy has to be done."""
        return self.budget.deadline

    @property
    def memory(self) -> MemoryBudget:
        """Of the process."""
        return self.config.memory_budget

    @property
    def features(self) -> Extractor:
        """The extractor, for strategies that need one.

        Raises:
            UsageError: when this run has none.
        """
        if self.extractor is None:
            raise UsageError("this run has no frozen backbone", hint="omit --strategy")
        return self.extractor

    def with_preprocess(self, preprocess: Preprocess | None) -> RunContext:
        """The same with another input of the frozen backbone; None: as it is."""
        if preprocess is None or self.extractor is None:
            return self
        return replace(self, extractor=replace(self.extractor, preprocess=preprocess))

    def with_size(self, size: int) -> RunContext:
        """The same with inputs of the frozen backbone of another side, pixels, on the engine that was chosen."""
        return self._with(self.features.backbone, replace(self.features.preprocess, size=size))

    def with_backbone(self, backbone: Backbone) -> RunContext:
        """The same with another frozen backbone, its input of the geometry that was chosen, on the same engine."""
        if backbone == self.features.backbone:
            return self
        chosen = self.features.preprocess
        preprocess = replace(backbone.preprocess, resize=chosen.resize, crop_share=chosen.crop_share)
        return self._with(backbone, preprocess)

    def _with(self, backbone: Backbone, preprocess: Preprocess) -> RunContext:
        extractor = self.features
        stages = extractor.stages and backbone.stage_dimension > 0
        engine = choose_engine(backbone, preprocess, partial(noise, preprocess, 32), self.decisions, stages=stages)
        changed = replace(extractor, backbone=backbone, preprocess=preprocess, engine=engine, stages=stages)
        return replace(self, extractor=changed)

    def free_memory(self) -> None:
        """Free what can be recomputed: rendered images, and compiled backbones."""
        if self.images.render_cache is not None:
            self.images.render_cache.forget()
        if self.extractor is not None:
            self.extractor.engine.release()
        self.frozen_maps.runners.clear()

    def pixels(self, subset: Subset) -> Pixels:
        """All images of a subset as they are preprocessed for this run, `(N, C, size, size)`; read once."""
        return self.images.subset(subset, self.split.subset(subset), self.preprocess)

    def pairs(self, records: Sequence[SplitRecord]) -> tuple[Pixels, Mask]:
        """These images and their masks in the run's box; read once."""
        assert self.split.label_map is not None
        return self.images.pairs(records, self.preprocess, self.split.label_map)

    def targets(self, records: Sequence[SplitRecord]) -> NDArray[Any]:
        """What is to be predicted for these images, encoded as the loss takes it, `(N, …)`."""
        return self.target.encode(records, self.split.classes)
