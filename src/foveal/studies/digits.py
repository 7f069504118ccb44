"""Small pictures and small networks for the studies: drawn, learned from and asked alike in all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.clock import Clock
from foveal.data.idx import find_pairs, read_pair
from foveal.data.pixels import Pixels
from foveal.data.samples import unpack
from foveal.errors import DataError
from foveal.fit.augment import Augment
from foveal.fit.batches import Batches, logits_of
from foveal.fit.job import Job, Outcome, Settings
from foveal.fit.loop import train_network
from foveal.planner import plan
from foveal.studies.frame import Setting
from foveal.values import Preprocess

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """Pictures `(N, C, H, W)` of 8 bits, and their labels `(N,)`."""

    pixels: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def drawn(self, count: int, seed: int) -> Side:
        """As many pictures of each class, chosen by the seed and always the same; all, where no more are there."""
        if count >= len(self):
            return self
        chance = np.random.default_rng([seed, count])
        classes = np.unique(self.labels)
        share = max(1, count // len(classes))
        places = [chance.permutation(np.flatnonzero(self.labels == c))[:share] for c in classes]
        chosen = np.sort(np.concatenate(places))
        return Side(self.pixels[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Lesson:
    """How a network learns; see `fit.job.Settings` and `fit.augment.Augment`."""

    steps: int
    batch: int = 64
    rate: float = 5e-3
    weight_decay: float = 0.01
    warmup: float = 0.2
    smoothing: float = 0.0
    ema: float = 0.0
    augment: Augment = field(default_factory=Augment)


@lru_cache(maxsize=2)
def sides(data: str) -> tuple[Side, Side]:
    """Training and test side of `sample:mnist`, or of a folder of IDX files.

    Raises:
        DataError: when it holds none, or not both sides.
    """
    folder = unpack(data.removeprefix("sample:")) if data.startswith("sample:") else Path(data)
    pairs = {pair.side: pair for pair in find_pairs(str(folder))}
    if not {"train", "test"} <= pairs.keys():
        raise DataError(
            f"{data}: no IDX files of a training and a test side",
            hint="this study learns from sample:mnist or a folder in MNIST's form, as Fashion-MNIST",
        )
    train, test = (read_pair(pairs[side]) for side in ("train", "test"))
    names = sorted(set(train[1]) | set(test[1]))
    return _side(*train, names), _side(*test, names)


def test_side(setting: Setting) -> Side:
    """The pictures that answers are counted on."""
    _, test = sides(setting.data)
    return test if setting.share >= 1 else test.drawn(setting.scaled(len(test), 50), 0)


def training_side(setting: Setting, count: int, seed: int) -> Side:
    """Pictures to learn from, drawn by the seed."""
    train, _ = sides(setting.data)
    return train.drawn(setting.scaled(min(count, len(train)), 50), seed)


def scale_of(side: Side) -> Preprocess:
    """Mean and deviation of a side's pixels, as its networks take them."""
    _, channels, height, _ = side.pixels.shape
    mean, std = float(side.pixels.mean()), max(1.0, float(side.pixels.std()))
    return Preprocess(size=height, mean=(mean,) * 3, std=(std,) * 3, channels=1 if channels == 1 else 3)


def learn(module: nn.Module, side: Side, lesson: Lesson, setting: Setting, *, seed: int) -> Outcome:
    """Train a network through the one loop; order and what is drawn are the seed's."""
    settings = Settings(
        steps=setting.scaled(lesson.steps, 2),
        rate=lesson.rate,
        optimizer="adamw",
        weight_decay=lesson.weight_decay,
        warmup=lesson.warmup,
        smoothing=lesson.smoothing,
        ema=lesson.ema,
    )
    batches = Batches(
        side.pixels,
        side.labels,
        scale_of(side),
        size=lesson.batch,
        augment=lesson.augment,
        seed=seed,
        device="cpu",
    )

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets, label_smoothing=lesson.smoothing)

    module.to(memory_format=torch.channels_last)
    return train_network(Job("study", module, batches, loss, seed=seed), settings, clock=Clock())


def answers(module: nn.Module, side: Side, scale: Preprocess) -> Labels:
    """The class that a network gives each picture."""
    found: Labels = logits_of(module, side.pixels, scale, "cpu").argmax(axis=1)
    return found


def accuracy(module: nn.Module, side: Side, scale: Preprocess) -> float:
    """The share of pictures that are answered right."""
    return float((answers(module, side, scale) == side.labels).mean())


def moved(side: Side, down: int, right: int) -> Side:
    """Its pictures shifted by whole pixels; what comes in is black, as the margin of a digit."""
    height, width = side.pixels.shape[2:]
    reach = max(abs(down), abs(right))
    wide = np.pad(side.pixels, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    top, left = reach - down, reach - right
    return Side(wide[:, :, top : top + height, left : left + width], side.labels)


def dimmed(side: Side, share: float) -> Side:
    """Its pictures at this share of their contrast, on black."""
    return Side(np.round(side.pixels * share).astype(np.uint8), side.labels)


def form_of(setting: Setting) -> tuple[int, int, int]:
    """Channels of the pictures, their side in pixels, and the number of classes."""
    train, _ = sides(setting.data)
    return train.pixels.shape[1], train.pixels.shape[2], int(train.labels.max()) + 1


def size_of(module: nn.Module, setting: Setting) -> dict[str, float]:
    """Parameters, and MACs for one picture, as the planner counts them."""
    _, channels, height, width = sides(setting.data)[0].pixels.shape
    found = plan(module, input=(channels, height, width), batch=1, remedies=False)
    return {"parameters": found.parameters, "macs": found.macs}


def _side(images: NDArray[np.uint8], labels: list[str], names: list[str]) -> Side:
    pixels = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return Side(np.ascontiguousarray(pixels), np.searchsorted(names, labels).astype(np.int64))
