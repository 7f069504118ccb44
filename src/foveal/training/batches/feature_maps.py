"""Batches of cached feature maps, each a pure function of its step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class FeatureMapBatches:
    """Step → cached feature maps of one of several augmented views, and labels; see `Batches` for the order.

    Args:
        views: each `(M, C, H, W)`, half precision, perhaps on disk.
        rows: of the images in every view, `(N,)`.
        labels: `(N,)`.
        size: images in a batch.
        seed: of order and view.
        device: where batches are made.
    """

    def __init__(
        self,
        views: Sequence[NDArray[np.float16]],
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
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
        chosen = order[place * self.size : (place + 1) * self.size]
        view = np.random.default_rng([self._seed, 1, step]).integers(0, len(self._views), len(chosen))
        drawn = np.stack([self._views[v][row] for v, row in zip(view, self._rows[chosen], strict=True)])
        maps = torch.from_numpy(drawn).to(self._device).float()
        return maps.contiguous(memory_format=torch.channels_last), self._labels[chosen].to(self._device)
