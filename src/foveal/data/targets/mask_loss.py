"""The loss of a segmentation, and how much each class counts in it. Torch: import it where it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from foveal.metrics.segmentation import VOID

#: Rare classes count at most this many times the mean.
_MAX_WEIGHT = 10.0


def class_weights(masks: Iterable[NDArray[np.uint8]], classes: int, power: float) -> Tensor:
    """The weight of each class in cross-entropy, `(K,)`; the mean over all labelled pixels is 1.

    Args:
        masks: of class positions, any shape.
        classes: K.
        power: of the inverse class frequency: 0 counts all pixels alike, 1 all classes alike. A class that never
            occurs counts as the rarest one.
    """
    counts = np.zeros(256, dtype=np.int64)
    for mask in masks:
        counts += np.bincount(np.asarray(mask).ravel(), minlength=256)
    known = counts[:classes].astype(float)
    occurs = known > 0
    if not occurs.any():
        return torch.ones(classes)
    share = known / known.sum()
    weights = (share[occurs].mean() / np.where(occurs, share, share[occurs].min())) ** power
    weights = np.minimum(weights, _MAX_WEIGHT)
    return torch.tensor(weights / float((weights * share).sum()), dtype=torch.float32)


def segmentation_loss(weights: Tensor | None, dice: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Weighted cross-entropy plus `dice` times the soft Dice loss over the classes that occur in the batch
    (Milletari et al. 2016, "V-Net").

    Args:
        weights: `(K,)`; None: all classes count alike.
        dice: 0 or more.

    Returns:
        Logits `(N, K, H, W)` and classes `(N, H, W)`, with `VOID` as the ignore index, to a scalar.
    """

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if not bool((targets != VOID).any()):
            return outputs.sum() * 0.0
        logs = functional.log_softmax(outputs, dim=1)
        weight = None if weights is None else weights.to(logs.device)
        cross_entropy = functional.nll_loss(logs, targets, weight, ignore_index=VOID)
        if not dice:
            return cross_entropy
        known = (targets != VOID).unsqueeze(1)
        true = (
            torch.zeros_like(logs).scatter_(1, torch.where(targets == VOID, 0, targets).unsqueeze(1), 1.0) * known
        )
        predicted = logs.exp() * known
        both, each = (predicted * true).sum((0, 2, 3)), predicted.sum((0, 2, 3)) + true.sum((0, 2, 3))
        occurs = true.sum((0, 2, 3)) > 0
        overlap = (2 * both + 1) / (each + 1)
        return cross_entropy + dice * (1 - overlap)[occurs].mean()

    return loss
