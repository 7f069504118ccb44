"""How close a map of outputs is to what the classifier gives for each window alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from foveal.models.fcn_conversion.convert import FullyConvolutional


@dataclass(frozen=True)
class Agreement:
    """A map against crops, at some positions.

    Attributes:
        places: how many positions were compared.
        same: share of them with the same most likely class.
        largest, mean: differences of the probabilities, largest over all and mean over positions of the largest.
        relative: largest difference of the logits, as a share of the largest logit.
    """

    places: int
    same: float
    largest: float
    mean: float
    relative: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)


def compare_with_crops(
    classifier: nn.Module,
    network: FullyConvolutional,
    image: Tensor,
    *,
    places: int = 64,
    batch: int = 16,
    logits: Tensor | None = None,
) -> Agreement:
    """Run the classifier itself on the windows at evenly spread positions of one image.

    Args:
        classifier: what `network` was converted from, `(N, C, window, window)` to `(N, K)`.
        network: the converted one.
        image: normalised, `(1, C, H, W)`.
        places: at most so many; all, where there are not more.
        batch: crops at once.
        logits: the output of `network` for the image, where it was computed already.
    """
    with torch.inference_mode():
        rows = (network(image) if logits is None else logits)[0].flatten(1).T
        width = network.outputs(int(image.shape[3]))
        count = min(places, len(rows))
        chosen = torch.linspace(0, len(rows) - 1, count).round().long()
        crops = []
        for i in chosen.tolist():
            y, x = network.stride * (i // width), network.stride * (i % width)
            crops.append(image[0, :, y : y + network.window, x : x + network.window])
        alone = torch.cat([classifier(torch.stack(crops[i : i + batch])) for i in range(0, len(crops), batch)])
    mapped = rows[chosen]
    differences = (mapped.softmax(1) - alone.softmax(1)).abs().amax(dim=1)
    return Agreement(
        places=len(chosen),
        same=float((mapped.argmax(1) == alone.argmax(1)).float().mean()),
        largest=float(differences.max()),
        mean=float(differences.mean()),
        relative=float((mapped - alone).abs().max() / alone.abs().max().clamp_min(1e-12)),
    )
