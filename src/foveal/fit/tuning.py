"""A pretrained network goes on learning on these pictures, all of it or what lies above a frozen trunk.

Head first, then the rest (LP-FT, Kumar et al. 2022): a random head would spoil the features before it learns.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.data.pixels import Pixels
from foveal.fit.augment import Augment
from foveal.fit.batches import Batches, logits_of, pictures_at_once
from foveal.fit.beneath import Beneath
from foveal.fit.device import Device, choose_device
from foveal.fit.head import fit_head
from foveal.fit.job import Settings
from foveal.fit.learned import Learned
from foveal.fit.memory import answered_at_once, has_room
from foveal.fit.strategies.base import Work
from foveal.fit.training import FORTH, run_training, seconds_a_step
from foveal.fit.tunings import Tuning
from foveal.models.tuned import Tuned, pretrained
from foveal.values import Placed

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

#: Pictures that the head which comes first is fitted on, at most.
_HEAD_PICTURES = 3000
#: Strength of that head: it is a beginning, and should not be sure of anything.
_HEAD_STRENGTH = 4.0
#: Changed pictures wake features that plain ones leave all but asleep: on letters such a head's loss began at 27
#: for them, and at 0.8 with this floor.
_HEAD_FLOOR = 0.1
#: Seconds to read a picture.
_READING = 0.002
_OPTIMIZER = "adamw"
#: What a head may be divided by before the layers beneath it learn.
_TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
#: Steps between looks at the loss: trainings are short.
_LOOK = 25


class Upper(nn.Module):
    """What is trained: the segments from `cut` on, and the head; the weights are shared with the network."""

    def __init__(self, network: Tuned, cut: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(list(network.segments.parts)[cut:])
        self.head = network.head

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(N, C, H, W)` to logits."""
        for part in self.parts:
            x = part(x)
        logits: Tensor = self.head(x)
        return logits


class Maps:
    """Step → cached maps of one of several augmented views, and labels; see `Batches` for the order.

    Args:
        views: each `(M, C, H, W)`, half precision, perhaps on disk.
        rows: of the pictures in every view, `(N,)`.
        labels: `(N,)`.
        size: pictures in a batch.
        seed: of order and view.
        device: where to.
    """

    def __init__(
        self,
        views: Sequence[NDArray[np.float16]],
        rows: NDArray[np.int64],
        labels: Labels,
        *,
        size: int,
        seed: int,
        device: str,
    ) -> None:
        self.size = min(size, len(labels))
        self.per_epoch = max(1, len(labels) // self.size)
        self._views, self._rows, self._labels = views, rows, torch.from_numpy(labels)
        self._seed, self._device = seed, device

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step."""
        epoch, place = divmod(step, self.per_epoch)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._labels))
        some = order[place * self.size : (place + 1) * self.size]
        view = np.random.default_rng([self._seed, 1, step]).integers(0, len(self._views), len(some))
        drawn = np.stack([self._views[v][row] for v, row in zip(view, self._rows[some], strict=True)])
        maps = torch.from_numpy(drawn).to(self._device).float()
        return maps.contiguous(memory_format=torch.channels_last), self._labels[some].to(self._device)


def temper(network: Tuned, cut: int, inputs: Tensor, targets: Tensor) -> None:
    """Make the head as sure as it may be on pictures that were changed: divide it by its best temperature.

    Fitted on a few plain pictures it is much too sure of augmented ones: losses of 70 began trainings whose first
    steps undid the network.
    """
    with torch.inference_mode():
        logits = network.upper(inputs, cut).float()
        losses = [float(nn.functional.cross_entropy(logits / t, targets)) for t in _TEMPERATURES]
    best = _TEMPERATURES[int(np.nanargmin(losses))] if not all(map(math.isnan, losses)) else 1.0
    with torch.no_grad():
        network.head.weight.div_(best)
        network.head.bias.div_(best)


def _of_all_classes(order: NDArray[np.int64], labels: Labels) -> NDArray[np.int64]:
    """The beginning of an order of pictures, as many as a head is fitted on; one of each class is among them."""
    if len(order) <= _HEAD_PICTURES:
        return order
    firsts = np.unique(labels[order], return_index=True)[1]
    return np.concatenate([order[firsts], np.delete(order, firsts)])[: max(_HEAD_PICTURES, len(firsts))]


class Tuner:
    """One way of tuning at one size of picture.

    Args:
        how: the recipe.
        work: the job.
        size: side of the input, pixels.
        augment: changes that keep the label.
    """

    def __init__(self, how: Tuning, work: Work, size: int, augment: Augment) -> None:
        backbone = work.features.backbone
        self.how, self.work, self.size = how, work, size
        self.cut = min(how.cut_at(size), backbone.stages)  # something above the cut has to learn
        self.augment = replace(augment, shift=augment.shift * size, elastic=augment.elastic * size)
        self.preprocess = replace(backbone.preprocess, size=size)
        self.network = {
            "architecture": "tuned",
            "backbone": backbone.name,
            "dimension": backbone.dimension,
            "classes": len(work.split.classes),
        }
        self.device: Device = choose_device(work.decisions, self.network, self.preprocess, room=has_room(work))

    def seconds_a_picture(self) -> float:
        """To learn from it once: measured over a few steps on noise, and remembered among the decisions."""
        key = f"{self.how.name} at {self.size} px, seconds a picture"
        return float(self.work.decisions.settle(key, self._measured))

    def seconds_an_answer(self) -> float:
        """About one picture, by all of the network in single precision; measured and remembered likewise."""
        key = f"{self.how.name} at {self.size} px, seconds an answer"
        return float(self.work.decisions.settle(key, self._measured_answers))

    def seconds_a_step(self) -> float:
        """Of one batch."""
        return self.seconds_a_picture() * self.how.batch

    def seconds_an_epoch(self, placed: Sequence[Placed]) -> float:
        """To learn once from each of these."""
        return self.seconds_a_picture() * len(placed)

    def steps(self, placed: Sequence[Placed], left: float) -> tuple[int, str]:
        """How many steps fit these seconds, at most all epochs of the recipe."""
        full = self.all_steps(placed)
        step = self.seconds_an_epoch(placed) / max(1, len(placed) // self.how.batch)
        if full * step <= left:
            return full, f"all {full} steps fit the time, {1000 * step:.0f} ms each"
        fits = max(1, int(left / step))
        return fits, f"{full} would be all; a step takes {1000 * step:.0f} ms, {left:.0f} s are left"

    def all_steps(self, placed: Sequence[Placed]) -> int:
        """Of the recipe, with these pictures."""
        return max(self.how.least_steps, round(self.how.epochs * max(1, len(placed) // self.how.batch)))

    def overhead(self, learning: Sequence[Placed], answering: int) -> float:
        """Seconds beside the steps: reading, the head that comes first, and so many answers at the end."""
        forth = self.seconds_a_picture() * (1.0 if self.cut else FORTH)
        looked_at = 0 if self.work.features.preprocess == self.preprocess else min(len(learning), _HEAD_PICTURES)
        head = (_READING + forth) * looked_at + _READING * len(learning)
        return head + ((_READING + self.seconds_an_answer()) * answering if answering else 0.0)

    def train(
        self,
        name: str,
        placed: Sequence[Placed],
        steps: int,
        *,
        reserve: float,
        most: int = 0,
        start: tuple[Mapping[str, Array], int] | None = None,
    ) -> tuple[Tuned, dict[str, Any]]:
        """Tune on these pictures; returns the network and how it went.

        Args:
            name: of the training, in decisions and checkpoints.
            placed: what to learn from.
            steps: how many.
            reserve: seconds that are left when it ends.
            most: to how many steps it may grow, when they turn out quicker than planned.
            start: weights to go on from, and the steps that were made to them; by default those of the
                pretraining, and a head that is fitted on their features.
        """
        work, how = self.work, self.how
        pixels, labels = work.rendered(placed, self.preprocess), work.labels(placed)
        torch.manual_seed(work.seed)
        network = self._fresh() if start else self._with_head(placed, pixels, labels)
        batches = self._batches(network, placed, pixels, labels, steps + (start[1] if start else 0))
        if start:
            network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in start[0].items()})
        else:
            temper(network, self.cut, *batches(0))
        settings = Settings(
            steps,
            how.rate,
            most,
            relative=True,
            head_share=how.head_share,
            cosine=True,
            optimizer=_OPTIMIZER,
            weight_decay=how.weight_decay,
            warmup=how.warmup,
            smoothing=how.smoothing,
            ema=how.ema,
            precision=self.device.precision,
            guard=math.log(len(work.split.classes)),
            check_every=_LOOK,
        )
        outcome = run_training(
            name, Upper(network, self.cut), batches, settings, work, seed=work.seed, reserve=reserve
        )
        network.zero_grad(set_to_none=True)
        return network.eval(), {
            **asdict(how),
            "size": self.size,
            "cut": self.cut,
            "augment": self.augment.to_dict(),
            "outcome": outcome,
        }

    def answers(self, network: Tuned, placed: Sequence[Placed]) -> Array:
        """Logits `(N, K)`."""
        if not placed:
            return np.zeros((0, len(self.work.split.classes)), dtype=np.float32)
        pixels = self.work.rendered(placed, self.preprocess)
        return logits_of(network, pixels, self.preprocess, self.device.name, self._at_once(network))

    def _at_once(self, network: Tuned) -> int:
        most = pictures_at_once(self.size, self.device.name)
        return answered_at_once(network, (3, self.size, self.size), most, self.work)

    def learned(self, network: Tuned) -> Learned:
        """The network as numbers."""
        tensors = {k: v.detach().cpu().numpy() for k, v in network.state_dict().items()}
        return Learned(tensors, self.preprocess, network=self.network)

    def _fresh(self) -> Tuned:
        network = pretrained(self.work.features.backbone, len(self.work.split.classes))
        return network.to(self.device.name, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _with_head(self, placed: Sequence[Placed], pixels: Pixels, labels: Labels) -> Tuned:
        """The pretrained network with a head fitted on its features at this size."""
        network = self._fresh()
        some = _of_all_classes(np.random.default_rng(self.work.seed).permutation(len(pixels)), labels)
        if len(np.unique(labels[some])) < len(self.work.split.classes):
            return network
        with self.work.clock.lap("features"):
            rows = self._known([placed[i] for i in some])
            if rows is None:
                rows = self._beneath(network).features(pixels[some])
        with self.work.clock.lap("fit"):
            head = fit_head(rows[None], labels[some], _HEAD_STRENGTH, floor=_HEAD_FLOOR)
        with torch.no_grad():
            network.head.weight.copy_(torch.from_numpy(head.weight))
            network.head.bias.copy_(torch.from_numpy(head.bias))
        return network

    def _known(self, placed: Sequence[Placed]) -> Array | None:
        """Features of these from the rungs before, where their pictures were of this size."""
        known, records = self.work.features, [p.record for p in placed]
        if known.preprocess != self.preprocess:
            return None
        table = known.run(records, clock=self.work.clock, reserve=self.work.reserve)
        if any(r.sha256 not in table.rows for r in records):
            return None
        return table.of(records)[:, : known.backbone.dimension]

    def _beneath(self, network: Tuned) -> Beneath:
        at_once = self._at_once(network)
        return Beneath(self.work, self.preprocess, network, self.cut, self.augment, self.device, at_once)

    def _batches(
        self, network: Tuned, placed: Sequence[Placed], pixels: Pixels, labels: Labels, steps: int
    ) -> Batches | Maps:
        size, seed, device = self.how.batch, self.work.seed, self.device.name
        if not self.cut:
            return Batches(
                pixels, labels, self.preprocess, size=size, augment=self.augment, seed=seed, device=device
            )
        epochs = steps * min(size, len(labels)) / max(1, len(labels))
        # As many for an epoch as when all epochs fit, which is what the speed was measured for.
        share = self.how.views / self.how.epochs
        count = max(min(2, self.how.views), min(self.how.views, round(epochs * share)))
        views, rows = self._beneath(network).views(placed, count)
        return Maps(views, rows, labels, size=size, seed=seed, device=device)

    def _measured_answers(self) -> tuple[float, str]:
        network, taken = self._fresh(), []
        count = self._at_once(network)
        pixels = np.random.default_rng(0).integers(0, 256, (count, 3, self.size, self.size), dtype=np.uint8)
        for _ in range(3):
            began = time.perf_counter()
            logits_of(network, pixels, self.preprocess, self.device.name, count)
            taken.append(time.perf_counter() - began)
        return min(taken) / count, f"measured on {count} pictures"

    def _seconds(self, module: nn.Module, batch: Callable[[int], tuple[Tensor, Tensor]]) -> float:
        return seconds_a_step(module, batch, self.device, self.work, optimizer=_OPTIMIZER)

    def _measured(self) -> tuple[float, str]:
        """Seconds a picture and epoch, with its share of the cached views."""
        n, size = self.how.batch, self.size
        pixels = np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8)
        labels = np.zeros(n, dtype=np.int64)
        network = self._fresh()
        shown = Batches(
            pixels, labels, self.preprocess, size=n, augment=self.augment, seed=0, device=self.device.name
        )
        if not self.cut:
            return self._seconds(network, shown) / n, "measured over a few steps"
        lower, zeros = [], torch.zeros(n, dtype=torch.long, device=self.device.name)
        beneath = self._beneath(network)
        for turn in range(3):
            began = time.perf_counter()
            found = beneath.maps_of(shown(turn)[0])
            lower.append(time.perf_counter() - began)
        maps = torch.from_numpy(found).to(self.device.name, memory_format=torch.channels_last)
        upper = self._seconds(Upper(network, self.cut), lambda _: (maps, zeros))
        share = self.how.views / self.how.epochs
        return (
            upper + min(lower) * share
        ) / n, f"measured: trunk {1000 * min(lower) / n:.1f} ms, above it {1000 * upper / n:.1f} ms"
