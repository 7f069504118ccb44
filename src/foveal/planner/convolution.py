"""What a convolution allocates inside itself on a CPU, by the implementation that torch and oneDNN choose.

oneDNN's compiled kernels want channels in blocks of 8 (AVX2) or 16 (AVX-512): input, weight and output are each
copied into that form, and results are copied back. Where it has no such kernel it multiplies unrolled columns.
Without oneDNN, torch unrolls the columns of the whole batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from foveal.planner.avx512 import BLOCK, Form, sums
from foveal.planner.record import Work

#: Copies of the weight in oneDNN's sums over columns, per thread.
_COLUMN_SUMS = 4
_PAGE = 8216


@dataclass(frozen=True)
class Backend:
    """Who computes.

    Attributes:
        device: `cpu` or `cuda`.
        threads: of a CPU.
        block: channels that oneDNN computes together.
        bf16: whether oneDNN computes bf16 here; otherwise torch's own convolution does, on unrolled columns.
    """

    device: str = "cpu"
    threads: int = 1
    block: int = 8
    bf16: bool = False


@dataclass(frozen=True)
class Convolution:
    """One convolution on one backend: the bytes of its parts in each form."""

    xs: tuple[int, ...]
    ws: tuple[int, ...]
    ys: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    size: int
    channels_last: bool
    backend: Backend

    @classmethod
    def of(cls, work: Work, backend: Backend) -> Convolution:
        """From `signature.work_of`; a transposed one is its own reverse."""
        _, xs, ws, ys, (stride, padding, dilation, transposed, groups), size, last = work[:7]
        if transposed:
            xs, ys = ys, xs
        return cls(xs, ws, ys, stride, padding, dilation, groups, size, last, backend)

    @property
    def x(self) -> int:
        """The input."""
        return self.size * math.prod(self.xs)

    @property
    def w(self) -> int:
        """The weight."""
        return self.size * math.prod(self.ws)

    @property
    def y(self) -> int:
        """The output."""
        return self.size * math.prod(self.ys)

    @cached_property
    def depthwise(self) -> bool:
        """One filter a channel."""
        return self.groups == self.xs[1] == self.ys[1] > 1

    @property
    def wide(self) -> bool:
        """Whether AVX-512 computes."""
        return self.backend.block == BLOCK

    @property
    def strided(self) -> bool:
        """Whether the gradient of the input is scattered over places, and then copied."""
        if max(self.stride) == 1:
            return False
        if self.depthwise:
            return self.wide and self.size == 2
        channels = self.xs[1] // self.groups
        return channels > self.backend.block if self.wide and self.groups > 1 else channels != self.backend.block

    @property
    def point(self) -> bool:
        """A kernel of one place."""
        return math.prod(self.ws[2:]) == 1

    @property
    def onednn(self) -> bool:
        """Whether torch hands it to oneDNN (`ConvParams::use_mkldnn`)."""
        if self.size == 2:
            return self.backend.bf16
        kernel = self.ws[2:]
        worth = max(self.stride) > 1 or max(self.dilation) > 1 or self.xs[0] >= 16 or not self.point
        return (worth or self.backend.threads > 1) and (
            self.groups > 1 or min(kernel) > 3 or self.xs[0] > 1 or math.prod(self.xs) > 20480
        )

    @property
    def compiled(self) -> bool:
        """Whether oneDNN has a kernel for the forward pass and the gradient of the input."""
        return self.groups == 1 or self.depthwise or self.size == 2 or not self._odd_for(8)

    @property
    def compiled_for_weight(self) -> bool:
        """Whether it has one for the gradient of the weight: small kernels only, on maps that are no smaller."""
        most = 3 if self.depthwise else 14
        if self.wide:
            whole = self.depthwise or self.groups == 1 or self.size == 4 or not self._odd_for(BLOCK)
            return (
                self.compiled and whole and (max(self.ws[2:]) <= most or (self.size == 2 and not self.depthwise))
            )
        return self.compiled and max(self.ws[2:]) <= most and not self.tiny

    @property
    def tiny(self) -> bool:
        """Whether the output is smaller than the kernel."""
        return any(place < side for place, side in zip(self.ys[2:], self.ws[2:], strict=True))

    def _odd_for(self, block: int) -> bool:
        return bool(self.xs[1] // self.groups % block or self.ys[1] // self.groups % block)

    def _padded(self, channels: int) -> int:
        if self.groups > 1 and not self.depthwise:
            return channels
        return math.ceil(channels / self.backend.block) * self.backend.block

    @property
    def _few(self) -> bool:
        """Images of few channels are read as they are."""
        return self.xs[1] <= 3 and not self.point

    @property
    def x_blocked(self) -> int:
        """The input in blocks; nothing where it is read as it is."""
        return 0 if self._few else self.x // self.xs[1] * self._padded(self.xs[1])

    @property
    def y_blocked(self) -> int:
        """The output in blocks."""
        return self.y // self.ys[1] * self._padded(self.ys[1])

    @property
    def w_blocked(self) -> int:
        """The weight in blocks."""
        outputs = self.w // self.ys[1] * self._padded(self.ys[1])
        if self.groups > 1 or self._few:
            return outputs
        return outputs // self.xs[1] * self._padded(self.xs[1])

    @property
    def reduced(self) -> int:
        """1 × 1 with a stride: the places that are used, gathered by each thread."""
        if not self.point or max(self.stride) == 1:
            return 0
        return self.size * self.backend.threads * self._padded(self.xs[1]) * math.prod(self.ys[2:])

    @property
    def columns(self) -> int:
        """Unrolled columns of one image and one group."""
        return self.size * math.prod(self.ws[1:]) * math.prod(self.ys[2:])

    @property
    def all_columns(self) -> int:
        """Unrolled columns of the whole batch, as torch makes them; none where they are the input itself."""
        simple = self.point and set(self.stride) == {1} and set(self.padding) == {0}
        return 0 if simple else self.columns * self.xs[0]

    @property
    def sums(self) -> int:
        """oneDNN's columns, and weights to be added up, of all threads."""
        in_fp32 = 4 * self.w if self.size == 2 else 0
        return self.backend.threads * (self.columns + _COLUMN_SUMS * self.w) + in_fp32


def forward(work: Work, results: int, backend: Backend) -> tuple[int, int]:
    """Expected bytes and a bound, the result included."""
    c = Convolution.of(work, backend)
    if not c.onednn:
        return results + c.all_columns, results + c.all_columns + _spare(c)
    if c.channels_last:
        peak = results + (c.w if c.depthwise or c.point or c.wide else 2 * c.w + _PAGE)
    elif not c.compiled:
        peak = max(c.y + backend.threads * c.columns, 2 * c.y)
    else:
        inside = _stored(c, c.ys[1]) + (c.reduced if c.point else 0)
        peak = max(c.x_blocked + c.w_blocked + c.y_blocked + inside, c.y_blocked + c.y)
    return peak, peak + _spare(c)


def backward(work: Work, results: int, backend: Backend) -> tuple[int, int]:
    """Expected bytes and a bound, both gradients included where they are requested."""
    c = Convolution.of(work, backend)
    to_input, to_weight = work[7], work[8]
    if not c.onednn:
        return results + c.all_columns, results + c.all_columns + _spare(c)
    held = c.x if to_input else 0
    if c.channels_last:
        peak = held + _channels_last_gradient(c)
    else:
        peak = max(_input_gradient(c) if to_input else 0, _weight_gradient(c, held) if to_weight else 0)
    return peak, peak + _spare(c)


def _spare(c: Convolution) -> int:
    """What the small buffers of an implementation may come to: in bf16 an image a thread, less in fp32."""
    image = c.x // c.xs[0]
    return c.backend.threads * (image if c.size == 2 else 2 * image // 3) + c.w + 65536


def _stored(c: Convolution, channels: int) -> int:
    """1 × 1 in bf16: sums of one image a thread, in fp32."""
    if not (c.wide and c.size == 2 and c.point):
        return 0
    return 4 * c.backend.threads * c._padded(channels) * math.prod(c.ys[2:])


def _channels_last_gradient(c: Convolution) -> int:
    if not c.depthwise:
        if c.wide and not c.compiled_for_weight:
            return c.w + max(c.sums + c.x, 2 * c.w)
        if c.wide:
            return max(c.w + _scattered(c), c.w_blocked + sums(_form(c)), 3 * c.w)
        return (3 if c.point else 4) * c.w
    if c.tiny and not c.wide:
        return c.w + max(c.sums, 2 * c.w)  # maps smaller than the kernel are unrolled
    if c.wide and c.compiled_for_weight and not (c.tiny and c.size == 4):
        return (3 if c.size == 4 else 5) * c.w
    # A kernel that knows no depthwise convolution computes a block of channels against a block of channels; so
    # it is on maps smaller than the kernel in fp32 (MobileNet-v2 at 32 pixels: 8 MB of 72, read off the profiler).
    return (2 + c.backend.block**2) * c.w + (sums(_form(c)) if c.wide and c.size == 2 else 0)


def _scattered(c: Convolution) -> int:
    """Sums of an image, where the gradient of the input is scattered."""
    return c.x // c.xs[0] if c.strided and not c._few else 0


def _form(c: Convolution) -> Form:
    one = (1,) * (4 - len(c.xs))
    (height, width), (rows, columns) = (*one, *c.xs[2:]), (*one, *c.ys[2:])
    as_blocks = c.depthwise and c.channels_last
    channels = (BLOCK, BLOCK) if as_blocks else (c.xs[1] // c.groups, c.ys[1] // c.groups)
    return Form(
        c.xs[0], c.groups, *channels, height, width, rows, columns, math.prod(c.ws[2:]), c.stride[-1],
        c.padding[-1], c.backend.threads, c.size == 2, c._few, c.channels_last,
    )  # fmt: skip


def _input_gradient(c: Convolution) -> int:
    if not c.compiled:
        return max(c.x + c.backend.threads * c.columns, 2 * c.x)
    if c.wide and c.strided:  # channels go innermost, and are not rounded up
        return max(c.x + c.w_blocked + c.y + (_scattered(c) if c.point else 0), 3 * c.x)
    copies = c.x_blocked + c.w_blocked + c.y_blocked + _stored(c, c.xs[1]) + c.reduced
    return max(copies, (c.x_blocked or c.x) + c.x + (c.x if c.strided else 0))


def _weight_gradient(c: Convolution, held: int) -> int:
    """With `held` bytes of the input's gradient, which is there already."""
    if not c.compiled_for_weight:
        return held + c.w + max(c.sums, c.w)
    if c.wide and c.size == 2 and c._few and c.ys[1] % BLOCK:
        return held + c.w + max(c.y // c.xs[0], c.w)
    copies = c.x_blocked + c.w_blocked + c.y_blocked
    if c.wide:
        inside = 2 * c.w if c.size == 2 and c.depthwise else sums(_form(c))
    else:
        inside = c.reduced + (_point_sums(c) if c.point else 0)
    return held + max(copies + inside, c.w_blocked + c.w)


def _point_sums(c: Convolution) -> int:
    """What the threads of a 1 × 1 convolution's gradient of the weight add up, each in a buffer of its own.

    oneDNN's `reduce_balancer_t` with the blocking of `jit_avx2_1x1_conv`: jobs are tiles of the weight; where
    there are not enough of them for all threads, threads share one, over the places of the batch.
    """
    if c.backend.threads == 1:
        return 0
    inputs = _tiles(math.ceil(c.xs[1] / c.groups / c.backend.block), 9)
    outputs = _tiles(math.ceil(c.ys[1] / c.groups / c.backend.block), 32)
    jobs = c.groups * inputs * outputs
    tile, reduction = max(1, c.w_blocked // jobs), c.xs[0] * math.ceil(math.prod(c.ys[2:]) / 128)
    fewest = max(1, jobs // c.backend.threads)
    groups = min(jobs // fewest, c.backend.threads)
    shared, each, best = min(c.backend.threads // groups, reduction), math.ceil(jobs / groups), jobs * reduction
    for per_group in range(fewest, jobs):
        groups = min(jobs // per_group, c.backend.threads)
        together, most = min(c.backend.threads // groups, reduction), math.ceil(jobs / groups)
        if together > 1 and most > 8:
            continue
        work = most * (math.ceil(reduction / together) + (together > 1))
        if work < best:
            shared, each, best = together, most, work
    return c.backend.threads * each * tile if shared > 1 else 0


def _tiles(blocks: int, most: int) -> int:
    """How many tiles a dimension is cut into: halved and cut in three until a tile has at most so many blocks."""
    tile = blocks
    while tile > most and (tile % 2 == 0 or tile % 3 == 0):
        tile //= 2 if tile % 2 == 0 else 3
    return blocks // tile
