"""Batches for the training loop out of pictures that all lie in memory, each a pure function of its step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.data.pixels import Pixels
from foveal.fit.augment import Augment, augmented
from foveal.values import Preprocess

#: Bytes of pictures that lie on a GPU as a whole; of more each batch is taken there.
_RESIDENT = 1 << 30


class Batches:
    """Step → normalised, augmented pictures `(B, C, H, W)` and labels `(B,)` on the training device.

    Every epoch goes through all pictures in a new order; what does not fill a batch waits for the next epoch.

    Args:
        pixels: `(N, C, H, W)`, 8 bits.
        labels: `(N,)`.
        preprocess: mean and deviation.
        size: pictures in a batch; fewer when there are fewer.
        augment: changes that keep the label.
        seed: of order and augmentation.
        device: where to.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: NDArray[np.int64],
        preprocess: Preprocess,
        *,
        size: int,
        augment: Augment,
        seed: int,
        device: str,
    ) -> None:
        self.size = min(size, len(pixels))
        self.per_epoch = max(1, len(pixels) // self.size)
        self._pixels = torch.from_numpy(np.require(pixels, requirements="W"))
        if pixels.nbytes <= _RESIDENT:
            self._pixels = self._pixels.to(device)
        self._labels, self._device = torch.from_numpy(labels).to(device), device
        self._mean, self._std = statistics_of(preprocess, device)
        self._augment, self._seed = augment, seed
        self._order: tuple[int, Tensor] = (-1, torch.zeros(0))

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step."""
        epoch, place = divmod(step, self.per_epoch)
        if self._order[0] != epoch:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self._pixels))
            self._order = epoch, torch.from_numpy(order).to(self._pixels.device)
        some = self._order[1][place * self.size : (place + 1) * self.size]
        pictures = (self._pixels[some].to(self._device).float() - self._mean) / self._std
        chance = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        pictures = augmented(pictures, self._augment, chance)
        return pictures.contiguous(memory_format=torch.channels_last), self._labels[some.to(self._device)]


def statistics_of(preprocess: Preprocess, device: str) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a preprocessing, each `(1, C, 1, 1)`."""

    def shaped(values: Sequence[float]) -> Tensor:
        return torch.tensor(values[: preprocess.channels], device=device).view(1, -1, 1, 1)

    return shaped(preprocess.mean), shaped(preprocess.std)


def pictures_at_once(side: int, device: str) -> int:
    """How many pictures of `side` pixels are answered together: their maps take less than a step of training."""
    fits = int(64 * (96 / side) ** 2) * (1 if device == "cpu" else 8)
    return max(8, min(500, fits))


def logits_of(
    module: torch.nn.Module, pixels: Pixels, preprocess: Preprocess, device: str, at_once: int | None = None
) -> NDArray[np.float32]:
    """A network's answers `(N, K)` on pictures `(N, C, H, W)` of 8 bits, in fp32, so many `at_once`."""
    mean, std = statistics_of(preprocess, device)
    rows, at_once = [], at_once or pictures_at_once(pixels.shape[-1], device)
    with torch.inference_mode():
        for start in range(0, len(pixels), at_once):
            batch = (torch.from_numpy(np.array(pixels[start : start + at_once])).to(device).float() - mean) / std
            rows.append(module(batch.contiguous(memory_format=torch.channels_last)).float().cpu().numpy())
    return np.concatenate(rows) if rows else np.zeros((0, 0), dtype=np.float32)
