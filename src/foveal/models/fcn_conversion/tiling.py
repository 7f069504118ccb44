"""A dense prediction in tiles: equal to the one in a single pass, up to rounding, in less memory.

Each tile is cut with a halo, as wide as it must be for its predictions to depend on nothing outside the tile. How
far a network sees is known from its layers (`FullyConvolutional.halo`) or measured (`reach`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foveal.errors import UsageError
from foveal.models.fcn_conversion.convert import FullyConvolutional

#: How far a network may see, pixels to either side, to be cut into tiles at all.
FARTHEST = 2048


@dataclass(frozen=True)
class Span:
    """A run of predictions along one side, and the pixels that they need.

    Attributes:
        first, last: predictions, the last one not included.
        start, stop: pixels, the last one not included; the halo is among them where the image has it.
        skipped: predictions that these pixels give before the first one that is wanted.
    """

    first: int
    last: int
    start: int
    stop: int
    skipped: int


def spans(
    pixels: int, longest: int, *, window: int, stride: int, halo: int, hint: str = "allow more memory"
) -> Iterator[Span]:
    """Cut one side of an image into spans of at most `longest` pixels, halo included.

    Args:
        pixels: of the side.
        longest: of a span, in pixels.
        window: pixels that one prediction is about.
        stride: pixels between two predictions.
        halo: pixels to either side of a window on which its prediction depends, a multiple of the stride.
        hint: what to do when `longest` is too short.

    Raises:
        UsageError: when a single prediction needs more than `longest`.
    """
    count = -(-(pixels - window) // stride) + 1
    if pixels <= longest:
        yield Span(0, count, 0, pixels, 0)
        return
    each = (longest - window - 2 * halo) // stride + 1
    if each < 1:
        raise UsageError(
            f"tiles of {longest} pixels are too small: one prediction depends on {window + 2 * halo}", hint=hint
        )
    for first in range(0, count, each):
        last = min(first + each, count)
        start = max(0, first * stride - halo)
        stop = min(pixels, (last - 1) * stride + window + halo)
        yield Span(first, last, start, stop, first - start // stride)


def pixel_spans(pixels: int, longest: int, *, stride: int, halo: int) -> Iterator[Span]:
    """The same for a network that predicts each pixel: spans begin at multiples of its stride.

    `first`, `last` and `skipped` are pixels, too.

    Raises:
        UsageError: when there is no room for a prediction between the halos.
    """
    for s in spans(pixels, longest, window=stride, stride=stride, halo=halo):
        yield Span(s.first * stride, min(s.last * stride, pixels), s.start, s.stop, s.skipped * stride)


def predict_in_tiles(
    network: FullyConvolutional,
    image: Tensor,
    *,
    longest: int,
    on_each: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """The map of logits `(1, K, h, w)` of one normalised image `(1, C, H, W)`.

    Args:
        network: from `convert`.
        image: of any size from the window on.
        longest: side of a tile, pixels.
        on_each: told the number of predictions after each tile.

    Raises:
        UsageError: when tiles are needed and a layer sees the whole image, or one is too small for a prediction.
    """
    hint = "allow more memory, or a larger --window, which makes the image smaller"
    window, stride = network.window, network.stride
    height, width = (window + stride * (network.outputs(int(side)) - 1) for side in image.shape[2:])
    if max(height, width) <= longest:
        whole: Tensor = network(image)
        on_each(whole.shape[2] * whole.shape[3])
        return whole
    if network.mixing:
        raise UsageError(
            f"an image of {width} × {height} pixels is too large for one pass, and tiles would change the "
            f"prediction: {network.mixing[0]} sees the whole image",
            hint=hint,
        )
    halo = -(-network.halo // stride) * stride
    rows = []
    for down in spans(height, longest, window=window, stride=stride, halo=halo, hint=hint):
        row = []
        for across in spans(width, longest, window=window, stride=stride, halo=halo, hint=hint):
            tile = network(image[:, :, down.start : down.stop, across.start : across.stop])
            h, w = down.last - down.first, across.last - across.first
            row.append(tile[:, :, down.skipped : down.skipped + h, across.skipped : across.skipped + w])
            on_each(h * w)
        rows.append(torch.cat(row, dim=3))
    return torch.cat(rows, dim=2)


def reach(network: nn.Module, stride: int, farthest: int = FARTHEST) -> int | None:
    """Pixels to either side on which a prediction depends, a multiple of the stride; None: on the whole image.

    This is measured: not-a-number spreads through every layer that sees it, so that one band of it in the input
    marks all predictions that depend on that band.

    Args:
        network: normalised `(1, 3, H, W)` to `(1, K, H, W)`.
        stride: a shift of the image by a multiple of it shifts the predictions.
        farthest: where the search for an end is given up.
    """
    side = max(64, 8 * stride)
    while True:
        spread = max(_spread(network, stride, side, along) for along in (2, 3))
        if spread < side:
            return -(-spread // stride) * stride
        if side >= farthest:
            return None
        side = min(farthest, 2 * side)


def _spread(network: nn.Module, stride: int, side: int, along: int) -> int:
    """How far the effect of a band of not-a-number reaches, with `side` pixels before and behind it."""
    before = -(-side // stride) * stride
    shape = [1, 3, 2 * stride, 2 * stride]
    shape[along] = 2 * before + stride
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    x = torch.zeros(shape, device=device).contiguous(memory_format=torch.channels_last)
    x.narrow(along, before, stride).fill_(float("nan"))
    with torch.inference_mode():
        affected = network(x).isnan().any(dim=1)[0].any(dim=3 - along)
    places = affected.nonzero().ravel()
    return max(before - int(places[0]), int(places[-1]) + 1 - before - stride)
