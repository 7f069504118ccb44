"""A recipe for segmentation at work: speed measured, steps settled, a network trained, validation asked."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.fit.crops import Crops
from foveal.fit.device import Device, choose_place, computes_bf16
from foveal.fit.learned import Learned
from foveal.fit.mask_evidence import MaskEvidence
from foveal.fit.memory import has_room
from foveal.fit.segmenting import answers_of, class_weights, crops_for, segmentation_loss, settings_for
from foveal.fit.segmentings import Segmenting
from foveal.fit.strategies.base import Work
from foveal.fit.training import FORTH, run_training, seconds_a_step
from foveal.metrics.segmentation import confusion
from foveal.models.backbones import find_backbone
from foveal.models.networks import with_weights
from foveal.models.segmentation.network import AtItsScale, Segmenter, segmenter
from foveal.values import Backbone, Placed

Pixels = NDArray[np.uint8]
#: Share of the time left that a training may plan for; the rest is for noise in the speed.
_PLANNED = 0.95
#: bf16 is taken when a step is this much faster with it.
_GAIN = 1.1


class Masker:
    """One recipe at one scale.

    Args:
        how: the recipe.
        work: the job.
        scale: of the pictures that the network looks at.
    """

    def __init__(self, how: Segmenting, work: Work, scale: float) -> None:
        self.how, self.work, self.scale = how, work, scale
        self.preprocess = work.preprocess
        self.classes = len(work.split.classes)
        self._backbone: Backbone = find_backbone(work.backbone)
        self.network: dict[str, Any] = {
            "architecture": "segmenter",
            "decoder": how.decoder,
            "backbone": self._backbone.name,
            "classes": self.classes,
            "scale": scale,
            **how.options,
        }
        self.device: Device = choose_place(work.decisions)

    def seconds_a_step(self) -> float:
        """Measured over a few steps, and remembered among the decisions: pieces of one size cost the same."""
        return float(self._speed()["seconds"])

    def looks(self) -> float:
        """How often all pixels of the training side can be looked at, at this scale, in the time left."""
        batches = self._batches(mirror=False)
        pixels = len(self.work.split.on("train")) * np.prod(np.shape(self._pairs("train")[1])[1:]) * self.scale**2
        piece = batches.cut.height * batches.cut.width * batches.size
        return float(self._seconds() / self.seconds_a_step() * piece / max(1, pixels))

    def affordable_steps(self) -> tuple[int, str]:
        """How many steps fit: all pieces of the recipe, or what the time left allows."""
        full = self._all_steps()
        step, left = self.seconds_a_step(), self._seconds()
        if full * step <= left:
            return full, f"all {full} steps fit the time, {1000 * step:.0f} ms each"
        fits = max(1, int(left / step))
        return fits, f"{full} would be all; a step takes {1000 * step:.0f} ms, {left:.0f} s are left for it"

    def overhead(self) -> float:
        """Seconds for answers: of the validation side, plain and perhaps mirrored, and then of the test side."""
        batches = self._batches(mirror=False)
        height, width = self.preprocess.box
        pictures = 2 * len(self.work.split.on("val")) + len(self.work.split.on("test"))
        pieces = pictures * height * width * self.scale**2 / (batches.cut.height * batches.cut.width)
        return FORTH * self.seconds_a_step() * pieces / batches.size

    def train(self, steps: int, *, mirror: bool) -> tuple[Segmenter, dict[str, Any]]:
        """Train; returns the network and how it went."""
        how, work = self.how, self.work
        module, precision = self._fresh(), str(self._speed()["precision"])
        most = self._all_steps() if how.most_share == 1 else 0  # others wait for the rest of the time
        batches = self._batches(mirror=mirror)
        outcome = run_training(
            how.name,
            AtItsScale(module),
            batches,
            settings_for(how, steps, precision, most),
            work,
            seed=work.seed,
            reserve=work.reserve + self.overhead(),
            loss=self._loss(),
        )
        settings = {
            **asdict(how), "scale": self.scale, "mirror": mirror, "precision": precision,
            "piece": [batches.cut.height, batches.cut.width], "outcome": outcome,
        }  # fmt: skip
        return module.eval(), settings

    def evidence(self, module: nn.Module) -> MaskEvidence:
        """Its answers to the validation side."""
        return _evidence(self.work, module, self.device.name)

    def learned(self, module: nn.Module) -> Learned:
        """The network as numbers."""
        tensors = {k: v.detach().cpu().contiguous().numpy() for k, v in module.state_dict().items()}
        return Learned(tensors, self.preprocess, network=self.network)

    def _all_steps(self) -> int:
        return max(self.how.least_steps, round(self.how.epochs * self._batches(mirror=False).per_epoch))

    def _seconds(self) -> float:
        left = self.work.clock.left(reserve=self.work.reserve) - self.overhead()
        return max(0.0, left * self.how.most_share * _PLANNED)

    def _pairs(self, side: Any) -> tuple[Pixels, Pixels]:  # noqa: ANN401
        return self.work.pairs(self.work.split.on(side), self.preprocess)

    def _batches(self, *, mirror: bool) -> Crops:
        pixels, masks = self._pairs("train")
        return crops_for(
            self.how, pixels, masks, self.preprocess, classes=self.classes, scale=self.scale, mirror=mirror,
            seed=self.work.seed, device=self.device.name,
        )  # fmt: skip

    def _loss(self) -> Any:  # noqa: ANN401
        weights = class_weights(self._pairs("train")[1], self.classes, self.how.balance)
        return segmentation_loss(weights, self.how.dice)

    def _fresh(self) -> Segmenter:
        torch.manual_seed(self.work.seed)
        options: dict[str, Any] = dict(self.how.options)
        module = segmenter(self.how.decoder, self.classes, self._backbone, scale=self.scale, **options)
        return module.to(self.device.name, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _speed(self) -> dict[str, Any]:
        cut = self._batches(mirror=False).cut
        name = f"{self.how.name}, a step of {cut.height} × {cut.width}"
        found: dict[str, Any] = self.work.decisions.settle(name, self._measured)
        return found

    def _measured(self) -> tuple[dict[str, Any], str]:
        """Seconds of a step, and the precision that it takes them in."""
        plain = self._step_in("f32")
        if not computes_bf16(self.device.name) or not has_room(self.work):
            return {"seconds": plain, "precision": "f32"}, "measured over a few steps"
        half = self._step_in("bf16")
        words = f"measured over a few steps: {1000 * plain:.0f} ms, in bf16 {1000 * half:.0f} ms"
        faster = plain >= _GAIN * half
        return {"seconds": half if faster else plain, "precision": "bf16" if faster else "f32"}, words

    def _step_in(self, precision: str) -> float:
        return seconds_a_step(
            AtItsScale(self._fresh()).train(), self._batches(mirror=False),
            replace(self.device, precision=precision), self.work, optimizer="adamw", loss=self._loss(),
        )  # fmt: skip


def mirrored_evidence(work: Work, learned: Learned) -> MaskEvidence:
    """A network's answers to the mirrored validation side."""
    assert learned.network is not None
    module = with_weights(learned.network, learned.tensors).to(memory_format=torch.channels_last)
    with work.clock.lap("evaluate"):
        return _evidence(work, module, "cpu", mirrored=True)


def _evidence(work: Work, module: nn.Module, device: str, *, mirrored: bool = False) -> MaskEvidence:
    placed: list[Placed] = work.split.on("val")
    if not placed:
        return MaskEvidence({}, {})
    pixels, masks = work.pairs(placed, work.preprocess)
    answers = answers_of(module, pixels, work.preprocess, device, mirrored=mirrored)
    names = [p.record.sha256 for p in placed]
    classes = len(work.split.classes)
    counts = [confusion(a, np.asarray(m), classes) for a, m in zip(answers, masks, strict=True)]
    return MaskEvidence(dict(zip(names, counts, strict=True)), {p.record.sha256: p.group for p in placed})
