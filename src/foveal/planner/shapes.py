"""Results of the operators that networks are mostly made of, without asking torch: the form of each new tensor.

torch's own shape functions are exact but slow (10 ms for one batch normalisation); a ResNet-50 has 600 calls.
Everything that is not here goes through torch, and a test holds these against it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Made = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]
_aten = torch.ops.aten


def _like(tensor: Tensor) -> Made:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype


def _vector(length: int, dtype: torch.dtype) -> Made:
    return (length,), (1,), dtype


def _dense(tensor: Tensor) -> bool:
    """Plain, or channels last: forms that element-wise operators keep."""
    return tensor.is_contiguous() or (tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def _batch_norm(x: Tensor, *rest: Any) -> tuple[Made | None, ...] | None:  # noqa: ANN401
    weight, training = rest[0], rest[4]
    if not _dense(x) or weight is None or weight.dtype != torch.float32 or len(weight) != x.shape[1]:
        return None
    length = x.shape[1] if training else 0
    return _like(x), _vector(length, torch.float32), _vector(length, torch.float32)


def _batch_norm_backward(grad: Tensor, x: Tensor, weight: Tensor | None, *rest: Any) -> Any:  # noqa: ANN401
    mask = rest[6]
    if not _dense(x) or grad.dtype != x.dtype or grad.stride() != x.stride() or weight is None:
        return None
    channels = _vector(x.shape[1], weight.dtype)
    return (_like(x) if mask[0] else None, channels if mask[1] else None, channels if mask[2] else None)


def _threshold_backward(grad: Tensor, x: Tensor, threshold: Any) -> Any:  # noqa: ANN401
    if grad.stride() != x.stride() or grad.shape != x.shape or grad.dtype != x.dtype or not _dense(grad):
        return None
    return (_like(grad),)


def _relu(x: Tensor) -> Any:  # noqa: ANN401
    return (_like(x),) if _dense(x) else None


def _convolution(x: Tensor, weight: Tensor, bias: Any, *form: Any) -> Any:  # noqa: ANN401
    stride, padding, dilation, transposed = form[:4]
    if transposed or x.ndim != 4 or not (x.is_contiguous() and weight.is_contiguous()) or x.dtype != weight.dtype:
        return None
    if x.is_contiguous(memory_format=torch.channels_last) or weight.is_contiguous(
        memory_format=torch.channels_last
    ):
        return None  # both at once, as with 1 × 1 places: torch decides by rules of its own
    if x.shape[1] != weight.shape[1] * form[5]:
        return None  # torch says what is wrong
    spots = [
        (x.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]
    if min(spots) < 1:
        return None
    channels = weight.shape[0]
    plane = spots[0] * spots[1]
    return (((x.shape[0], channels, *spots), (channels * plane, plane, spots[1], 1), x.dtype),)


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, sizes: Any, *form: Any) -> Any:  # noqa: ANN401
    mask = form[6]
    if not all(t.ndim == 4 and t.is_contiguous() for t in (grad, x, weight)):
        return None
    bias = _vector(weight.shape[0], weight.dtype) if mask[2] else None
    return (_like(x) if mask[0] else None, _like(weight) if mask[1] else None, bias)


#: Operator → results, or None where torch has to say.
NEW: dict[Any, Callable[..., Any]] = {
    _aten.native_batch_norm.default: _batch_norm,
    _aten.native_batch_norm_backward.default: _batch_norm_backward,
    _aten.threshold_backward.default: _threshold_backward,
    _aten.relu.default: _relu,
    _aten.convolution.default: _convolution,
    _aten.convolution_backward.default: _convolution_backward,
}
#: Operators that give back their first argument, changed in place: nothing is allocated, nothing changes form.
SAME = {
    getattr(getattr(_aten, name), overload)
    for name, overload in (
        ("add_", "Tensor"), ("add_", "Scalar"), ("sub_", "Tensor"), ("mul_", "Tensor"), ("mul_", "Scalar"),
        ("div_", "Tensor"), ("div_", "Scalar"), ("addcdiv_", "default"), ("addcmul_", "default"),
        ("lerp_", "Scalar"), ("relu_", "default"), ("hardtanh_", "default"), ("silu_", "default"),
        ("hardswish_", "default"), ("sqrt_", "default"), ("zero_", "default"), ("fill_", "Scalar"),
        ("bernoulli_", "float"), ("leaky_relu_", "default"), ("elu_", "default"), ("normal_", "default"),
        ("uniform_", "default"),
    )
}  # fmt: skip
#: Operators that view the same memory in another shape: torch's own, on the content that is not there.
VIEWS = {
    getattr(getattr(_aten, name), overload)
    for name, overload in (
        ("detach", "default"), ("view", "default"), ("_unsafe_view", "default"), ("t", "default"),
        ("transpose", "int"), ("permute", "default"), ("slice", "Tensor"), ("select", "int"),
        ("expand", "default"), ("unsqueeze", "default"), ("squeeze", "dim"), ("alias", "default"),
    )
}  # fmt: skip
