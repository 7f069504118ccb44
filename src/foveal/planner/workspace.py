"""The table of workspaces: what operators allocate inside themselves and free before they return.

Traces on tensors without content can't see it. The forms were read off the allocations that torch 2.15 makes on an
x86-64 CPU (oneDNN for convolutions) and are held against the profiler by `bench/planner.py`. oneDNN computes on
channels in blocks of 8 (AVX2) or 16 (AVX-512): input, weight and output are each copied into that form, and the
result is copied back. That is most of what a network needs beyond its tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from foveal.planner.convolution import Backend, backward, forward
from foveal.planner.record import Work


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


def _batch_norm(work: Work, results: int, backend: Backend) -> tuple[int, int]:
    """The gradient of the input is made twice; of maps that lie differently, in fp32 or not at all."""
    _, size, element, alike, to_input = work
    converted = 4 * size // element if element < 4 else 0
    extra = (size if to_input else 0) if alike else converted
    return results + extra, results + max(extra, size)


def _copies(work: Work, results: int, backend: Backend) -> tuple[int, int]:
    """Norms compute on plain tensors: what lies otherwise is copied."""
    extra = sum(size for size, plain in work[1] if not plain)
    return results + extra, results + extra


def _mixed(work: Work, results: int, backend: Backend) -> tuple[int, int]:
    return results + work[1] * work[2], results + 2 * work[1] * work[2]


def _reduce(work: Work, results: int, backend: Backend) -> tuple[int, int]:
    return results + 4 * work[1], results + 4 * work[1]


_RULES: dict[str, Callable[[Work, int, Backend], tuple[int, int]]] = {
    "convolution": forward,
    "convolution_backward": backward,
    "native_batch_norm_backward": _batch_norm,
    "native_layer_norm": _copies,
    "native_layer_norm_backward": _copies,
    "mixed": _mixed,
    "sum": _reduce,
    "mean": _reduce,
}
