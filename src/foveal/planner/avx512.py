"""What oneDNN's AVX-512 kernels keep while they compute the gradient of a convolution's weight.

Threads share the work by images of the batch or by channels, whichever moves fewer bytes; those that share
images each add up a weight of their own. The costs are those of oneDNN 3 (`balance` in its files
`jit_avx512_common_conv_kernel.cpp`, `…_common_1x1_conv_kernel.cpp`, `…_core_bf16_conv_kernel.cpp`),
held against the allocations that convolutions of 22 networks make on a Zen 4 processor. In bf16 sums are kept in
fp32, and images are laid out again so that two neighbours are adjacent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: Channels that are computed together; bytes of barriers and guards besides the sums.
BLOCK, _BARRIERS = 16, 8448
#: What a weight costs against a place of a map, 1 × 1: in fp32, and in bf16.
_POINT_WEIGHT, _POINT_WEIGHT_BF16, _WEIGHT = 12, 8.4, 8
#: 1 × 1 in bf16: maps of so many places are laid out again, of so many channels at a time.
_SMALL_MAP, _INPUTS_AT_ONCE, _OUTPUTS_AT_ONCE = 196, 112, 384
#: 1 × 1 with a stride: channels whose places are gathered at a time.
_GATHERED = 128

#: Threads over images, over output channels, over input channels.
_Split = tuple[int, int, int]


@dataclass(frozen=True)
class Form:
    """A convolution in numbers.

    Attributes:
        batch: images.
        groups: of channels; a thread has groups of its own where there are enough.
        inputs, outputs: channels of a group.
        height, width, rows, columns: of the input and of the output.
        kernel: places.
        stride, padding: along a row.
        threads: of the CPU.
        half: bf16.
        few: images are read as they are.
        last: channels are innermost in memory.
    """

    batch: int
    groups: int
    inputs: int
    outputs: int
    height: int
    width: int
    rows: int
    columns: int
    kernel: int
    stride: int
    padding: int
    threads: int
    half: bool
    few: bool
    last: bool

    @property
    def input_blocks(self) -> int:
        """Of a group."""
        return math.ceil(self.inputs / BLOCK)

    @property
    def output_blocks(self) -> int:
        """Of a group."""
        return math.ceil(self.outputs / BLOCK)

    @property
    def weights(self) -> int:
        """Numbers in a weight in blocks."""
        inputs = self.inputs if self.few else self.input_blocks * BLOCK
        return self.groups * inputs * self.output_blocks * BLOCK * self.kernel

    @property
    def paired_columns(self) -> int:
        """Columns of the output's gradient, rounded up to pairs."""
        return math.ceil(self.columns / 2) * 2

    @property
    def paired_width(self) -> int:
        """Columns of the input when it is laid out in pairs, with its padding."""
        step = 2 * self.stride
        return math.ceil((self.width + self.stride * max(2, math.ceil(self.padding / 2) * 2)) / step) * step


def sums(form: Form) -> int:
    """Bytes of sums and rearranged maps while the gradient of the weight is computed."""
    over_images = _over_images(form)
    if form.half:
        kept = 4 * form.weights * over_images + (_points(form) if form.kernel == 1 else _pairs(form, over_images))
    else:
        kept = 4 * form.weights * (over_images - 1)
    if form.kernel == 1 and form.stride > 1:
        size = 2 if form.half else 4
        kept += size * form.threads * min(form.inputs, _GATHERED) * form.rows * form.columns
    return kept + (_BARRIERS if kept else 0)


def _pairs(form: Form, images: int) -> int:
    """Both maps of the images that are in work, two neighbours together."""
    outputs = form.output_blocks * form.rows * form.paired_columns
    inputs = 0 if form.few else form.input_blocks * form.height * form.paired_width
    return 2 * BLOCK * form.groups * images * (inputs + outputs)


def _points(form: Form) -> int:
    places = form.rows * form.columns
    if places > _SMALL_MAP and not form.last:
        return 0
    channels = min(BLOCK * form.input_blocks, _INPUTS_AT_ONCE) + min(BLOCK * form.output_blocks, _OUTPUTS_AT_ONCE)
    return 2 * form.threads * places * channels


def _over_images(form: Form) -> int:
    """How many threads share the images of a batch: the rest share channels."""
    if form.threads <= form.groups:
        return 1
    threads = form.threads // form.groups
    if form.kernel == 1:
        chosen = _cheapest(form, threads, _point_cost(form))
    elif form.half:
        chosen = _cheapest(form, threads, _half_cost(form))
    else:
        chosen = _least_work(form, threads, _cost(form))
    images = chosen[0]
    return min(form.batch, threads) if threads / 2 < images < threads else images


def _splits(form: Form, threads: int) -> Iterator[_Split]:
    for images in range(1, min(threads, form.batch) + 1):
        for outputs in range(1, min(threads // images, form.output_blocks) + 1):
            yield images, outputs, min(threads // images // outputs, form.input_blocks)


def _cheapest(form: Form, threads: int, cost: Callable[[_Split], float]) -> _Split:
    """Of several that cost the same, the last."""
    best: _Split = (1, 1, 1)
    for split in _splits(form, threads):
        if cost(split) <= cost(best):
            best = split
    return best


def _least_work(form: Form, threads: int, cost: Callable[[_Split], float]) -> _Split:
    """The cheapest, or one that leaves a thread less to compute and moves at most a tenth more."""
    best = _cheapest(form, threads, cost)
    least, work = cost(best), _work(form, best)
    for split in _splits(form, threads):
        mine = _work(form, split)
        if (mine <= work and cost(split) <= 1.1 * least) or 4 * mine <= 3 * work:
            best, work = split, mine
    return best


def _work(form: Form, split: _Split) -> int:
    images, outputs, inputs = split
    channels = math.ceil(form.output_blocks / outputs) * math.ceil(form.input_blocks / inputs)
    return math.ceil(form.batch / images) * channels


def _cost(form: Form) -> Callable[[_Split], float]:
    """fp32: places of the maps once, weights eightfold."""

    def cost(split: _Split) -> float:
        some, blocks_out, blocks_in = _shares(form, split)
        read = blocks_in * BLOCK * form.height * form.width / form.stride**2
        return (
            some * (read + blocks_out * BLOCK * form.rows * form.columns)
            + _WEIGHT * blocks_out * blocks_in * form.kernel * BLOCK**2
        )

    return cost


def _half_cost(form: Form) -> Callable[[_Split], float]:
    """bf16: what is larger, maps or weights, counts more."""
    maps = 2 * form.batch * BLOCK * form.input_blocks * form.height * form.paired_width
    maps += 2 * form.batch * BLOCK * form.output_blocks * form.rows * form.paired_columns
    scale = 0.5 * maps / (4 * form.weights / form.groups)
    ratio = form.output_blocks / form.input_blocks
    of_inputs, of_outputs = max(1 / ratio, 1.0) * (4 if scale < 1 else 1), max(ratio, 1.0)

    def cost(split: _Split) -> float:
        some, blocks_out, blocks_in = _shares(form, split)
        return (
            of_inputs * some * blocks_in * BLOCK * form.height * form.paired_width / form.stride**2
            + of_outputs * some * blocks_out * BLOCK * form.rows * form.paired_columns
            + max(scale, 1.0) * blocks_out * blocks_in * form.kernel * BLOCK**2
        )

    return cost


def _point_cost(form: Form) -> Callable[[_Split], float]:
    """1 × 1."""
    places = form.rows * form.columns
    weight = _POINT_WEIGHT_BF16 if form.half else _POINT_WEIGHT

    def cost(split: _Split) -> float:
        images, outputs, inputs = split
        some = form.batch * places / images
        blocks_out, blocks_in = math.ceil(form.output_blocks / outputs), math.ceil(form.input_blocks / inputs)
        return some * BLOCK * (blocks_in + blocks_out) + weight * blocks_out * blocks_in * BLOCK**2

    return cost


def _shares(form: Form, split: _Split) -> tuple[int, int, int]:
    """Images, blocks of outputs, blocks of inputs of one thread."""
    images, outputs, inputs = split
    return (
        math.ceil(form.batch / images),
        math.ceil(form.output_blocks / outputs),
        math.ceil(form.input_blocks / inputs),
    )
