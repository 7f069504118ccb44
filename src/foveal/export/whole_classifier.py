"""A classifier's bundle as one module in torch, from 8-bit images of any size to its answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foveal.export.pixels import Views
from foveal.export.timm_config import timm_config
from foveal.inference.bundle import Bundle
from foveal.inference.dense_map import classifier_of


class WholeClassifier(nn.Module):
    """What `inference.classifier` computes, as one module.

    Args:
        bundle: a classifier.

    Attributes:
        outputs: names of what `forward` gives, in order.
        size: None: images of any size are taken.
        pretrained_cfg: input and normalisation, by the names that timm uses.

    Raises:
        UsageError: when its preprocessing can't be part of a graph.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        manifest = bundle.manifest
        self.manifest = manifest
        self.views = Views(manifest.preprocess, manifest.views)
        self.network = classifier_of(bundle)
        self.outputs: tuple[str, ...] = (
            "probabilities",
            "prediction_set",
            *(("unknown",) if manifest.outside else ()),
        )
        self.size = None
        self.pretrained_cfg = timm_config(manifest)

    def logits(self, images: Tensor) -> Tensor:
        """`(N, H, W, 3)`, 8 bits, to the mean logits of the views, `(N, outputs)`."""
        computed: Tensor = self.network(self.views(images))
        views = len(self.manifest.views)
        return computed if views == 1 else computed.reshape(views, -1, computed.shape[1]).mean(dim=0)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """`(N, H, W, 3)`, 8 bits, to what `outputs` names.

        `probabilities` `(N, K)` are calibrated. `prediction_set` `(N, K)`: the classes that hold the true one in
        nine cases of ten. `unknown` `(N,)`: whether an image is none of the classes.
        """
        logits, manifest = self.logits(images), self.manifest
        inside = logits[:, :-1] if manifest.outside else logits
        probabilities = torch.softmax(inside / manifest.temperature, dim=1)
        likeliest = probabilities >= probabilities.amax(dim=1, keepdim=True)
        answers = (probabilities, (probabilities >= manifest.set_threshold) | likeliest)
        if not manifest.outside:
            return answers
        return *answers, torch.softmax(logits, dim=1)[:, -1] >= manifest.unknown_threshold
