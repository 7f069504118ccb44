"""The table of workspaces: what operators allocate inside themselves and free before they return.

Traces on tensors without content can't see it. The forms were read off the allocations that torch 2.15 makes on an
x86-64 CPU (oneDNN for convolutions) and are held against the profiler by `bench/planner.py`. oneDNN computes on
channels in blocks of 8 (AVX2) or 16 (AVX-512): input, weight and output are each copied into that form, and the
result is copied back. That is most of what a network needs beyond its tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from foveal.planner.record import Work


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
class Need:
    """Bytes beyond what was alive when the operator began, its own results included.

    Attributes:
        peak: expected.
        most: a bound.
    """

    peak: int
    most: int


def need(work: Work, results: int, backend: Backend) -> Need:
    """What an operator needs while it runs.

    Args:
        work: as `signature.work_of` wrote it.
        results: bytes of new memory that it returns.
        backend: who computes.
    """
    rule = _RULES.get(work[0])
    if rule is None or backend.device != "cpu":
        return Need(results, results)
    peak, most = rule(work, results, backend)
    return Need(max(results, peak), max(results, peak, most))


def _blocked(channels: int, backend: Backend) -> int:
    return math.ceil(channels / backend.block) * backend.block


@dataclass(frozen=True)
class _Convolution:
    """Bytes of the parts of one convolution."""

    x: int
    w: int
    y: int
    x_blocked: int
    w_blocked: int
    y_blocked: int
    columns: int
    onednn: bool
    scratch: int

    @classmethod
    def of(cls, work: Work, backend: Backend) -> _Convolution:
        _, xs, ws, ys, (stride, padding, dilation, _, groups), size, last = work[:7]
        batch, channels, outputs = xs[0], xs[1], ys[1]
        spots, places = math.prod(xs[2:]), math.prod(ys[2:])
        kernel = math.prod(ws[2:])
        x, w, y = (math.prod(s) * size for s in (xs, ws, ys))
        columns = size * channels * kernel * places * batch
        simple = kernel == 1 and set(stride) == {1} and set(padding) == {0}
        blocked = not last and channels // groups >= 4
        depthwise = groups == channels == outputs
        in_, out_ = _blocked(channels, backend), _blocked(outputs, backend)
        if groups > 1 and not depthwise and channels // groups % backend.block:
            in_, out_ = channels, outputs
        return cls(
            x=x,
            w=w,
            y=y,
            x_blocked=size * batch * in_ * spots if blocked or (depthwise and not last) else 0,
            w_blocked=w * (in_ * out_ if groups == 1 and channels > 3 else out_ * channels) // (channels * outputs)
            if not depthwise
            else w * in_ // channels,
            y_blocked=size * batch * out_ * places if not last else 0,
            columns=0 if simple else columns,
            onednn=_onednn(xs, ws, size, stride, dilation, groups, backend),
            scratch=size * backend.threads * channels * places if kernel == 1 and max(stride) > 1 else 0,
        )


def _onednn(xs: Any, ws: Any, size: int, stride: Any, dilation: Any, groups: int, backend: Backend) -> bool:  # noqa: ANN401
    """Whether torch hands a convolution to oneDNN (`ConvParams::use_mkldnn`)."""
    if size == 2:
        return backend.bf16
    kernel = ws[2:]
    worth = max(stride) > 1 or max(dilation) > 1 or xs[0] >= 16 or set(kernel) != {1} or backend.threads > 1
    return worth and (groups > 1 or min(kernel) > 3 or xs[0] > 1 or math.prod(xs) > 20480)


def _forward(work: Work, results: int, backend: Backend) -> tuple[int, int]:
    c = _Convolution.of(work, backend)
    if not c.onednn:
        return results + c.columns, results + c.columns
    copies = c.x_blocked + c.w_blocked + c.y_blocked + c.scratch
    return max(copies, c.y_blocked + c.y), copies + c.y


def _backward(work: Work, results: int, backend: Backend) -> tuple[int, int]:
    c = _Convolution.of(work, backend)
    to_input, to_weight = work[7], work[8]
    if not c.onednn:
        return results + c.columns, results + c.columns
    held = c.x if to_input else 0
    both = c.x_blocked + c.w_blocked + c.y_blocked + c.scratch
    peaks = [both + held if to_weight else 0, both if to_input else 0, c.x_blocked + c.x if to_input else 0]
    return max(peaks), held + both + c.w * (1 + backend.threads)


def _copies(work: Work, results: int, backend: Backend) -> tuple[int, int]:
    """Norms compute on plain tensors: what lies otherwise is copied."""
    extra = sum(size for size, plain in work[1] if not plain)
    return results + extra, results + extra


def _mixed(work: Work, results: int, backend: Backend) -> tuple[int, int]:
    return results + work[1] * work[2], results + 2 * work[1] * work[2]


def _reduce(work: Work, results: int, backend: Backend) -> tuple[int, int]:
    return results + 4 * work[1], results + 4 * work[1]


_RULES: dict[str, Callable[[Work, int, Backend], tuple[int, int]]] = {
    "convolution": _forward,
    "convolution_backward": _backward,
    "native_batch_norm_backward": _copies,
    "native_layer_norm": _copies,
    "native_layer_norm_backward": _copies,
    "mixed": _mixed,
    "sum": _reduce,
    "mean": _reduce,
}
