"""Batches for classification out of images that are all in memory, each a pure function of its step."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.data.images.pixels import Pixels
from foveal.memory_budget import GPU_IMAGES_BYTES
from foveal.models.normalisation import Normalisation
from foveal.training.batches.augment import augmented
from foveal.training.recipes.augmentation import Augment
from foveal.values import Preprocess

#: Up to this many bytes of images are kept on the GPU; of more each batch is copied there.


class Batches:
    """Step → normalised, augmented images `(B, C, H, W)` and labels `(B,)` on the training device.

    Every epoch goes through all images in a new order; those that do not fill a batch are dropped from it.

    Args:
        pixels: `(N, C, H, W)`, 8 bits.
        labels: `(N,)`.
        preprocess: mean and standard deviation.
        size: images in a batch, at most as many as there are.
        augment: random changes.
        seed: of order and augmentation.
        device: where batches are made.
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
        if pixels.nbytes <= GPU_IMAGES_BYTES:
            self._pixels = self._pixels.to(device)
        self._labels, self._device = torch.from_numpy(labels).to(device), device
        self._normalise = Normalisation(preprocess, device)
        self._augment, self._seed = augment, seed
        self._order: tuple[int, Tensor] = (-1, torch.zeros(0))

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step."""
        epoch, place = divmod(step, self.per_epoch)
        if self._order[0] != epoch:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self._pixels))
            self._order = epoch, torch.from_numpy(order).to(self._pixels.device)
        chosen = self._order[1][place * self.size : (place + 1) * self.size]
        images = self._normalise(self._pixels[chosen])
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        images = augmented(images, self._augment, generator)
        return images.contiguous(memory_format=torch.channels_last), self._labels[chosen.to(self._device)]


def prediction_batch_size(side: int, device: str) -> int:
    """Images of `side` pixels that are predicted at once: their feature maps take less than a training step."""
    fits = int(64 * (96 / side) ** 2) * (1 if device == "cpu" else 8)
    return max(8, min(500, fits))


def logits_of(
    module: torch.nn.Module, pixels: Pixels, preprocess: Preprocess, device: str, batch_size: int | None = None
) -> NDArray[np.float32]:
    """A network's logits `(N, K)` for 8-bit images `(N, C, H, W)`, in fp32, in batches of `batch_size`."""
    normalise = Normalisation(preprocess, device)
    rows, batch_size = [], batch_size or prediction_batch_size(pixels.shape[-1], device)
    with torch.inference_mode():
        for start in range(0, len(pixels), batch_size):
            batch = normalise(torch.from_numpy(np.array(pixels[start : start + batch_size])))
            rows.append(module(batch.contiguous(memory_format=torch.channels_last)).float().cpu().numpy())
    return np.concatenate(rows) if rows else np.zeros((0, 0), dtype=np.float32)
