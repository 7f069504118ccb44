"""A map of answers over a picture of any size, in pieces: equal to the map in one piece, in less memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from foveal.errors import UsageError
from foveal.models.fully_convolutional import FullyConvolutional


@dataclass(frozen=True)
class Span:
    """A run of answers along one side, and the pixels that they need.

    Attributes:
        first, last: answers, the last one not included.
        start, stop: pixels, the last one not included; the halo is among them where the picture has it.
        skipped: answers that these pixels give before the first one that is wanted.
    """

    first: int
    last: int
    start: int
    stop: int
    skipped: int


def spans(network: FullyConvolutional, pixels: int, most: int) -> Iterator[Span]:
    """Cut a side of `pixels` into pieces of at most `most` pixels, halo included.

    Raises:
        UsageError: when a single answer needs more than `most`.
    """
    stride, window = network.stride, network.window
    halo = -(-network.halo // stride) * stride
    count = network.answers(pixels)
    if pixels <= most:
        yield Span(0, count, 0, pixels, 0)
        return
    each = (most - window - 2 * halo) // stride + 1
    if each < 1:
        raise UsageError(
            f"tiles of {most} pixels are too small: an answer depends on {window + 2 * halo}",
            hint="allow more memory, or a larger --window, which makes the picture smaller",
        )
    for first in range(0, count, each):
        last = min(first + each, count)
        start = max(0, first * stride - halo)
        stop = min(pixels, (last - 1) * stride + window + halo)
        yield Span(first, last, start, stop, first - start // stride)


def answer_in_tiles(
    network: FullyConvolutional,
    picture: Tensor,
    *,
    most: int,
    on_each: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """The map of logits `(1, K, h, w)` of one normalised picture `(1, C, H, W)`.

    Each tile is as wide as it must be for its answers to depend on nothing outside it, so that the result is the
    one of a single pass, up to rounding.

    Args:
        network: from `convert`.
        picture: of any size from the window on.
        most: longest side of a tile, pixels.
        on_each: told the number of answers after each tile.

    Raises:
        UsageError: when tiles are needed and a layer sees the whole picture, or one is too small for an answer.
    """
    sides = [network.window + network.stride * (network.answers(int(side)) - 1) for side in picture.shape[2:]]
    if max(sides) <= most:
        whole: Tensor = network(picture)
        on_each(whole.shape[2] * whole.shape[3])
        return whole
    if network.mixing:
        raise UsageError(
            f"a picture of {sides[1]} × {sides[0]} pixels is too large for one pass, and tiles would change the "
            f"answer: {network.mixing[0]} sees the whole picture",
            hint="allow more memory, or a larger --window, which makes the picture smaller",
        )
    rows = []
    for down in spans(network, sides[0], most):
        row = []
        for across in spans(network, sides[1], most):
            tile = network(picture[:, :, down.start : down.stop, across.start : across.stop])
            height, width = down.last - down.first, across.last - across.first
            row.append(tile[:, :, down.skipped : down.skipped + height, across.skipped : across.skipped + width])
            on_each(height * width)
        rows.append(torch.cat(row, dim=3))
    return torch.cat(rows, dim=2)
