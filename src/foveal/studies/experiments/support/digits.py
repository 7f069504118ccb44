"""Small images for the studies: subsets of digits, and one way to train and evaluate networks on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.data.images.idx import find_pairs, read_pair
from foveal.data.images.pixels import Pixels
from foveal.data.sources.samples import unpack
from foveal.errors import DataError
from foveal.planner import plan
from foveal.studies.framework import Setting
from foveal.training.batches.arrays import Batches, logits_of
from foveal.training.loop.loop import train_network
from foveal.training.loop.task import LoopSettings, Outcome, TrainTask
from foveal.training.recipes.augmentation import Augment
from foveal.values import Preprocess

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class DigitSet:
    """Images `(N, C, H, W)` of type `uint8`, and their labels `(N,)`."""

    pixels: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, count: int, seed: int) -> DigitSet:
        """A random subset, the same for the same seed, with equally many images of each class; all images when
        `count` is not smaller than the set."""
        if count >= len(self):
            return self
        rng = np.random.default_rng([seed, count])
        classes = np.unique(self.labels)
        per_class = max(1, count // len(classes))
        indices = [rng.permutation(np.flatnonzero(self.labels == c))[:per_class] for c in classes]
        chosen = np.sort(np.concatenate(indices))
        return DigitSet(self.pixels[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Training:
    """How a network is trained; see `training.loop.task.LoopSettings` and `training.batches.augment.Augment`."""

    steps: int
    batch: int = 64
    lr: float = 5e-3
    weight_decay: float = 0.01
    warmup: float = 0.2
    label_smoothing: float = 0.0
    ema: float = 0.0
    augment: Augment = field(default_factory=Augment)


@lru_cache(maxsize=2)
def subsets(data: str) -> tuple[DigitSet, DigitSet]:
    """The training and the test subset of `sample:mnist`, or of a folder of IDX files.

    Raises:
        DataError: when one of them is missing.
    """
    folder = unpack(data.removeprefix("sample:")) if data.startswith("sample:") else Path(data)
    pairs = {pair.subset: pair for pair in find_pairs(str(folder))}
    if not {"train", "test"} <= pairs.keys():
        raise DataError(
            f"{data}: no IDX files of a training and a test subset",
            hint="this study needs sample:mnist or a folder of IDX files, such as Fashion-MNIST",
        )
    train, test = (read_pair(pairs[name]) for name in ("train", "test"))
    names = sorted(set(train[1]) | set(test[1]))
    return _digit_set(*train, names), _digit_set(*test, names)


def test_subset(setting: Setting) -> DigitSet:
    """The images that accuracy is measured on."""
    _, test = subsets(setting.data)
    return test if setting.share >= 1 else test.draw(setting.scaled(len(test), 50), 0)


def training_subset(setting: Setting, count: int, seed: int) -> DigitSet:
    """Training images, drawn by the seed."""
    train, _ = subsets(setting.data)
    return train.draw(setting.scaled(min(count, len(train)), 50), seed)


def preprocess_for(digits: DigitSet) -> Preprocess:
    """Normalisation by the mean and the standard deviation of all pixels."""
    _, channels, height, _ = digits.pixels.shape
    mean, std = float(digits.pixels.mean()), max(1.0, float(digits.pixels.std()))
    return Preprocess(size=height, mean=(mean,) * 3, std=(std,) * 3, channels=1 if channels == 1 else 3)


def train(module: nn.Module, digits: DigitSet, training: Training, setting: Setting, *, seed: int) -> Outcome:
    """Train a network in place with the package's training loop; the seed decides order and augmentation."""
    settings = LoopSettings(
        steps=setting.scaled(training.steps, 2),
        lr=training.lr,
        optimizer="adamw",
        weight_decay=training.weight_decay,
        warmup=training.warmup,
        label_smoothing=training.label_smoothing,
        ema=training.ema,
    )
    batches = Batches(
        digits.pixels,
        digits.labels,
        preprocess_for(digits),
        size=training.batch,
        augment=training.augment,
        seed=seed,
        device="cpu",
    )

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets, label_smoothing=training.label_smoothing)

    module.to(memory_format=torch.channels_last)
    return train_network(TrainTask("study", module, batches, loss, seed=seed), settings)


def predict(module: nn.Module, digits: DigitSet, preprocess: Preprocess) -> Labels:
    """The predicted class of each image, `(N,)`."""
    labels: Labels = logits_of(module, digits.pixels, preprocess, "cpu").argmax(axis=1)
    return labels


def accuracy(module: nn.Module, digits: DigitSet, preprocess: Preprocess) -> float:
    """The fraction of images that are classified correctly."""
    return float((predict(module, digits, preprocess) == digits.labels).mean())


def translate(digits: DigitSet, down: int, right: int) -> DigitSet:
    """Its images translated by whole pixels; new pixels are black, as a digit's margin is."""
    height, width = digits.pixels.shape[2:]
    reach = max(abs(down), abs(right))
    padded = np.pad(digits.pixels, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    top, left = reach - down, reach - right
    return DigitSet(padded[:, :, top : top + height, left : left + width], digits.labels)


def reduce_contrast(digits: DigitSet, share: float) -> DigitSet:
    """Its images at this fraction of their contrast, on black."""
    return DigitSet(np.round(digits.pixels * share).astype(np.uint8), digits.labels)


def image_shape(setting: Setting) -> tuple[int, int, int]:
    """Channels and side length of the images, and the number of classes."""
    train_set, _ = subsets(setting.data)
    return train_set.pixels.shape[1], train_set.pixels.shape[2], int(train_set.labels.max()) + 1


def cost_of(module: nn.Module, setting: Setting) -> dict[str, float]:
    """Parameters, and MACs for one image, according to the planner."""
    _, channels, height, width = subsets(setting.data)[0].pixels.shape
    planned = plan(module, input=(channels, height, width), batch=1, remedies=False)
    return {"parameters": planned.parameters, "macs": planned.macs}


def _digit_set(images: NDArray[np.uint8], labels: list[str], names: list[str]) -> DigitSet:
    pixels = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return DigitSet(np.ascontiguousarray(pixels), np.searchsorted(names, labels).astype(np.int64))
