"""What an operator's workspace depends on, as plain numbers that can be carried on to another batch size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from foveal.planner.record import Work

_NORMS = {"native_layer_norm", "native_layer_norm_backward", "native_group_norm"}
_REDUCE = {"sum", "mean"}
_ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"


def work_of(name: str, args: Any, out: Any) -> Work | None:  # noqa: ANN401
    """The numbers, or None for an operator that needs no more than its results.

    Every form begins with the operator's name; see `workspace.py` for what is made of them.
    """
    if name == "convolution":
        return _convolution(args, out)
    if name == "convolution_backward":
        return _convolution_backward(args)
    if name == "native_batch_norm_backward":
        grad, x, mask = args[0], args[1], args[9]
        return (name, x.nbytes, x.element_size(), grad.stride() == x.stride(), bool(mask[0]))
    if name in _NORMS:
        return (name, tuple(_layout(a) for a in args if isinstance(a, Tensor) and a.ndim > 1))
    if name in _REDUCE and args[0].dtype in (torch.bfloat16, torch.float16):
        return (name, args[0].numel())
    if name.startswith(_ATTENTION):
        return (name, *map(tuple, (args[0].shape, args[1].shape)), args[0].element_size())
    return _mixed(args, out)


def _convolution(args: Any, out: Tensor) -> Work:  # noqa: ANN401
    x, weight, _, stride, padding, dilation, transposed, _, groups = args[:9]
    form = (tuple(stride), tuple(padding), tuple(dilation), bool(transposed), groups)
    return ("convolution", tuple(x.shape), tuple(weight.shape), tuple(out.shape), form, *_kind(x, weight))


def _convolution_backward(args: Any) -> Work:  # noqa: ANN401
    grad, x, weight, _, stride, padding, dilation, transposed, _, groups, mask = args
    form = (tuple(stride), tuple(padding), tuple(dilation), bool(transposed), groups)
    shapes = tuple(x.shape), tuple(weight.shape), tuple(grad.shape)
    return ("convolution_backward", *shapes, form, *_kind(x, weight), bool(mask[0]), bool(mask[1]))


def _kind(x: Tensor, weight: Tensor) -> tuple[int, bool]:
    """Bytes of an element, and whether the channels are innermost."""
    last = any(
        t.ndim == 4 and not t.is_contiguous() and t.is_contiguous(memory_format=torch.channels_last)
        for t in (x, weight)
    )
    return x.element_size(), last


def _layout(tensor: Tensor) -> tuple[int, bool]:
    return tensor.nbytes, tensor.is_contiguous()


def _mixed(args: Any, out: Any) -> Work | None:  # noqa: ANN401
    """Element-wise operators on a CPU convert arguments of another type beforehand, each as a whole."""
    if not isinstance(out, Tensor):
        return None
    given = [a for a in args if isinstance(a, Tensor) and a.ndim]
    if len(given) < 2 or len({a.dtype for a in given}) == 1 or not all(a.is_floating_point() for a in given):
        return None
    common = given[0].dtype
    for a in given[1:]:
        common = torch.promote_types(common, a.dtype)
    converted = sum(a.numel() for a in given if a.dtype != common)
    return ("mixed", converted, torch.empty((), dtype=common, device="meta").element_size())
