"""A model of several labels for each image as one module in torch, from 8-bit images of any size to its answers."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.export.whole_classifier import WholeClassifier
from foveal.inference.bundle import Bundle
from foveal.inference.multi_label import thresholds_of


class WholeMultiLabel(WholeClassifier):
    """What `inference.multi_label` computes, as one module; see `WholeClassifier`."""

    thresholds: Tensor

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.outputs = ("probabilities", "labels")
        self.register_buffer("thresholds", torch.from_numpy(thresholds_of(bundle.manifest)))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """`(N, H, W, 3)`, 8 bits, to what `outputs` names.

        `probabilities` `(N, K)` are calibrated, each by itself. `labels` `(N, K)`: those that reach their thresholds.
        """
        probabilities = torch.sigmoid(self.logits(images) / self.manifest.temperature)
        return probabilities, probabilities >= self.thresholds
