"""How near a map of answers is to what the network says of each window alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from foveal.models.fully_convolutional import FullyConvolutional


@dataclass(frozen=True)
class Agreement:
    """A map against crops, at some places.

    Attributes:
        places: how many were compared.
        same: share of them with the same likeliest class.
        largest, mean: differences of the probabilities, largest over all and mean over places of the largest.
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
    picture: Tensor,
    *,
    places: int = 64,
    batch: int = 16,
    answers: Tensor | None = None,
) -> Agreement:
    """Ask the classifier itself about the windows at evenly spread places of one picture.

    Args:
        classifier: what `network` was converted from, `(N, C, window, window)` to `(N, K)`.
        network: the converted one.
        picture: normalised, `(1, C, H, W)`.
        places: at most so many; all, where there are not more.
        batch: crops at once.
        answers: what `network` said of the picture, where it was asked already.
    """
    with torch.inference_mode():
        rows = (network(picture) if answers is None else answers)[0].flatten(1).T
        width = network.answers(int(picture.shape[3]))
        count = min(places, len(rows))
        chosen = torch.linspace(0, len(rows) - 1, count).round().long()
        crops = []
        for i in chosen.tolist():
            y, x = network.stride * (i // width), network.stride * (i % width)
            crops.append(picture[0, :, y : y + network.window, x : x + network.window])
        alone = torch.cat([classifier(torch.stack(crops[i : i + batch])) for i in range(0, len(crops), batch)])
    found = rows[chosen]
    apart = (found.softmax(1) - alone.softmax(1)).abs().amax(dim=1)
    return Agreement(
        places=len(chosen),
        same=float((found.argmax(1) == alone.argmax(1)).float().mean()),
        largest=float(apart.max()),
        mean=float(apart.mean()),
        relative=float((found - alone).abs().max() / alone.abs().max().clamp_min(1e-12)),
    )
