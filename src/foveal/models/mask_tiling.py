"""A map for each pixel of a picture of any size, in pieces: equal to the map in one piece, up to rounding.

How far an answer depends on the picture is measured, not guessed: what is not a number spreads through every layer
that sees it, so that one band of it in the input shows all answers that depend on that band.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from foveal.errors import UsageError

#: How far a network may see, pixels to either side, to be cut into tiles at all.
FARTHEST = 2048


@dataclass(frozen=True)
class Piece:
    """A run of answers along one side, and the pixels that they need.

    Attributes:
        first, last: answers, the last one not included.
        start, stop: pixels, the last one not included.
    """

    first: int
    last: int
    start: int
    stop: int


def reach(network: nn.Module, stride: int, farthest: int = FARTHEST) -> int | None:
    """Pixels to either side that an answer depends on, a multiple of the stride; None: on all of the picture.

    Args:
        network: normalised `(1, 3, H, W)` to `(1, K, H, W)`.
        stride: shifts by multiples of it shift the answers, too.
        farthest: where looking for an end is given up.
    """
    side = max(64, 8 * stride)
    while True:
        found = max(_spread(network, stride, side, along) for along in (2, 3))
        if found < side:
            return -(-found // stride) * stride
        if side >= farthest:
            return None
        side = min(farthest, 2 * side)


def _spread(network: nn.Module, stride: int, side: int, along: int) -> int:
    """How far a band of not-a-number, with `side` pixels of picture before and behind it, is felt."""
    before = -(-side // stride) * stride
    shape = [1, 3, 2 * stride, 2 * stride]
    shape[along] = 2 * before + stride
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    x = torch.zeros(shape, device=device).contiguous(memory_format=torch.channels_last)
    x.narrow(along, before, stride).fill_(float("nan"))
    with torch.inference_mode():
        felt = network(x).isnan().any(dim=1)[0].any(dim=3 - along)
    places = felt.nonzero().ravel()
    return max(before - int(places[0]), int(places[-1]) + 1 - before - stride)


def pieces(pixels: int, most: int, halo: int, stride: int) -> Iterator[Piece]:
    """Cut a side into pieces of at most `most` pixels, halo included, that begin at multiples of the stride.

    Raises:
        UsageError: when there is no room for an answer between the halos.
    """
    if pixels <= most:
        yield Piece(0, pixels, 0, pixels)
        return
    each = (most - 2 * halo) // stride * stride
    if each < stride:
        raise UsageError(
            f"tiles of {most} pixels are too small: an answer depends on {2 * halo + stride}",
            hint="allow more memory",
        )
    for first in range(0, pixels, each):
        last = min(first + each, pixels)
        yield Piece(first, last, max(0, first - halo), min(pixels, last + halo))
