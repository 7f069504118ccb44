"""The geometry of a network: stride, padding, and the layers in which every position depends on all others.

Observed at the level of torch's operators while the network runs on fake tensors, so that a function called
inside a `forward` counts as well as a layer. Nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_Operator = Callable[..., Any]
#: Two runs differ by this many pixels: divisible by every product of strides up to 64 that occurs.
_GROWTH = 20160

#: Operators that reduce over the dimensions in their second argument.
_REDUCTIONS = {
    _aten.mean.dim,
    _aten.sum.dim_IntList,
    _aten.amax.default,
    _aten.amin.default,
    _aten.var_mean.correction,
    _aten.var.correction,
    _aten.max.dim,
    _aten.logsumexp.default,
    _aten.linalg_vector_norm.default,
}
#: Operators that read all positions of a map whatever their arguments.
_GLOBAL = {
    _aten._adaptive_avg_pool2d.default,
    _aten.adaptive_max_pool2d.default,
    _aten.native_group_norm.default,
    _aten._native_batch_norm_legit.no_stats,
    _aten.bmm.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
}


@dataclass(frozen=True)
class Geometry:
    """How the positions of a network's output relate to its input.

    Attributes:
        stride: pixels of the input between neighbouring positions of the output, vertical and horizontal.
        halo: pixels around an output's window that padding stands in for when the image ends there: the sum of
            each layer's padding in pixels of the input. Branches are added up, so it is never too small.
        padded: module paths of the layers that pad.
        mixing: module paths of the layers in which every position depends on all others.
    """

    stride: tuple[int, int]
    halo: int
    padded: tuple[str, ...]
    mixing: tuple[str, ...]


@dataclass(frozen=True)
class _Event:
    """One operator that pads or mixes: its module, the height of its map, and by how many cells it pads."""

    module: str
    height: int
    padding: int
    mixes: bool


def geometry_of(network: nn.Module, channels: int, size: int) -> Geometry:
    """Run `network` on fake tensors of two sizes and compare.

    Args:
        network: `(N, channels, H, W)` to `(N, K, h, w)`, in evaluation mode.
        channels: of the input.
        size: side of an image that it takes, pixels.

    Raises:
        ValueError: when the output does not grow evenly with the input.
    """
    small, events = _observe(network, channels, size)
    large, later_events = _observe(network, channels, size + _GROWTH)
    grown = [b - a for a, b in zip(small, large, strict=True)]
    if any(g <= 0 or _GROWTH % g for g in grown):
        fixed = [e.module for e in later_events if e.mixes]
        named = f"; {fixed[0] or 'its forward'} works on the whole map" if fixed else ""
        raise ValueError(
            f"an output of {small[0]} × {small[1]} becomes {large[0]} × {large[1]} on a larger image{named}"
        )
    halo = Fraction(0)
    for first, second in zip(events, later_events, strict=True):
        if second.height > first.height:
            halo += first.padding * Fraction(_GROWTH, second.height - first.height)
    return Geometry(
        stride=(_GROWTH // grown[0], _GROWTH // grown[1]),
        halo=-int(-halo // 1),
        padded=tuple(dict.fromkeys(e.module for e in events if e.padding)),
        mixing=tuple(dict.fromkeys(e.module for e in later_events if e.mixes)),
    )


def _observe(network: nn.Module, channels: int, size: int) -> tuple[tuple[int, int], list[_Event]]:
    with FakeTensorMode(allow_non_fake_inputs=True) as fake, torch.no_grad(), _paths(network) as path:
        x = fake.from_tensor(torch.empty(1, channels, 1, 1)).expand(1, channels, size, size)
        with _Observer(path) as observer:
            out = network(x)
    return (int(out.shape[2]), int(out.shape[3])), observer.events


def mixing_modules(network: nn.Module, x: Tensor) -> set[str]:
    """Paths of the modules in which, given `x`, every position comes to depend on all, and their parents."""
    with torch.no_grad(), _paths(network) as path, _Observer(path) as observer:
        network(x)
    mixing = {e.module for e in observer.events if e.mixes}
    return {".".join(parts[:i]) for parts in (m.split(".") for m in mixing) for i in range(len(parts) + 1)}


@contextmanager
def _paths(network: nn.Module) -> Iterator[list[str]]:
    """The path of the innermost module that runs, as the last item of a list that follows the run."""
    path = [""]
    handles = []

    def leave(*_: object) -> None:
        path.pop()

    for name, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(lambda _, __, name=name: path.append(name)))
        handles.append(module.register_forward_hook(leave))
    try:
        yield path
    finally:
        for handle in handles:
            handle.remove()


class _Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records what pads and what mixes. Not in inference mode: there, composite operators arrive whole."""

    def __init__(self, path: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._path = path
        self.events: list[_Event] = []

    def __torch_dispatch__(
        self, func: _Operator, types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        x = args[0] if args and isinstance(args[0], Tensor) else None
        if x is not None and x.ndim >= 3:
            padding, mixes = _padding(func, args, result), _mixes(func, x, args)
            if padding or mixes:
                self.events.append(_Event(self._path[-1], int(x.shape[-2]), padding, mixes))
        return result


def _padding(func: _Operator, args: Sequence[Any], result: Any) -> int:  # noqa: ANN401
    """Cells of padding on the side that has most; 0 for an operator that does not pad."""
    if func is _aten.convolution.default:
        return int(max(args[4], default=0))
    if func in (_aten.max_pool2d_with_indices.default, _aten.avg_pool2d.default):
        x, kernel = args[0], args[1]
        stride = (args[2] if len(args) > 2 else None) or kernel
        padding = args[3] if len(args) > 3 else (0, 0)
        out = result[0] if isinstance(result, tuple) else result
        # With ceil_mode the last window may hang over the edge, where nothing was asked to pad.
        over = [(out.shape[i] - 1) * stride[i] + kernel[i] - x.shape[i] - padding[i] for i in (-2, -1)]
        return int(max(*padding, *over, 0))
    if func in (_aten.constant_pad_nd.default, _aten.reflection_pad2d.default, _aten.replication_pad2d.default):
        return int(max(*args[1][:4], 0))
    return 0


def _mixes(func: _Operator, x: Tensor, args: Sequence[Any]) -> bool:
    """Whether each position of the result depends on all positions of a map `x`."""
    if func in _GLOBAL:
        return max(x.shape[-2:]) > 1
    if func in _REDUCTIONS and x.ndim == 4 and len(args) > 1 and args[1] is not None:
        dims = [args[1]] if isinstance(args[1], int) else list(args[1])
        return any(d % 4 in (2, 3) and x.shape[d] > 1 for d in dims)
    return False
