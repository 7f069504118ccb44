"""Element by element, and sums over axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from foveal.models.onnx_graph.node import Node, Value
from foveal.models.onnx_graph.operators import axes_of, like, operator

_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "Relu": functional.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Erf": torch.erf, "Exp": torch.exp,
    "Log": torch.log, "Sqrt": torch.sqrt, "Neg": torch.neg, "Abs": torch.abs, "Reciprocal": torch.reciprocal,
    "Floor": torch.floor, "Ceil": torch.ceil, "Softplus": functional.softplus, "HardSwish": functional.hardswish,
    "Mish": functional.mish, "Round": torch.round, "Sign": torch.sign, "Not": torch.logical_not,
    "Softsign": functional.softsign,
}  # fmt: skip
_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Pow": torch.pow, "Equal": torch.eq, "Less": torch.lt,
    "Greater": torch.gt, "LessOrEqual": torch.le, "GreaterOrEqual": torch.ge, "Mod": torch.remainder,
    "And": torch.logical_and, "Or": torch.logical_or,
}  # fmt: skip


@operator(*_PLAIN, by_torch=True)
def _one(node: Node, x: Tensor) -> Tensor:
    return _PLAIN[node.kind](x)


@operator(*_TWO, by_torch=True)
def _two(node: Node, a: Value, b: Value) -> Tensor:
    left, right = like(a, b), like(b, a)
    if not isinstance(left, Tensor):
        left = torch.as_tensor(left, dtype=right.dtype, device=right.device)
    return _TWO[node.kind](left, right)  # type: ignore[no-any-return]


@operator("Div", by_torch=True)
def _div(node: Node, a: Value, b: Value) -> Tensor:
    left, right = like(a, b), like(b, a)
    whole = isinstance(left, Tensor) and not left.is_floating_point()
    return torch.div(left, right, rounding_mode="trunc" if whole else None)


@operator("Sum", "Max", "Min", by_torch=True)
def _several(node: Node, *values: Value) -> Tensor:
    run = {"Sum": torch.add, "Max": torch.maximum, "Min": torch.minimum}[node.kind]
    first = next(v for v in values if isinstance(v, Tensor))
    result, *others = (torch.as_tensor(v, dtype=first.dtype) if isinstance(v, np.ndarray) else v for v in values)
    for other in others:
        result = run(result, other)  # type: ignore[operator]
    return result  # type: ignore[return-value]


@operator("Where", by_torch=True)
def _where(node: Node, condition: Value, a: Value, b: Value) -> Tensor:
    chosen, yes, no = (torch.as_tensor(v) if isinstance(v, np.ndarray) else v for v in (condition, a, b))
    return torch.where(chosen, yes, no)  # type: ignore[arg-type]


@operator("LeakyRelu")
def _leaky(node: Node, x: Tensor) -> Tensor:
    return functional.leaky_relu(x, node.attributes.get("alpha", 0.01))


@operator("Elu")
def _elu(node: Node, x: Tensor) -> Tensor:
    return functional.elu(x, node.attributes.get("alpha", 1.0))


@operator("PRelu")
def _prelu(node: Node, x: Tensor, slope: Value) -> Tensor:
    return torch.where(x >= 0, x, x * like(slope, x))


@operator("Gelu")
def _gelu(node: Node, x: Tensor) -> Tensor:
    return functional.gelu(x, approximate=node.attributes.get("approximate", b"none").decode())


@operator("HardSigmoid")
def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return functional.hardsigmoid(x) if abs(alpha - 1 / 6) < 1e-4 else (alpha * x + beta).clamp(0, 1)


@operator("Clip", by_torch=True)
def _clip(node: Node, x: Tensor, low: Value = None, high: Value = None) -> Tensor:
    least = node.attributes.get("min") if low is None else float(np.asarray(low))
    most = node.attributes.get("max") if high is None else float(np.asarray(high))
    return functional.relu6(x) if (least, most) == (0.0, 6.0) else torch.clamp(x, least, most)


@operator("Softmax", by_torch=True)
def _softmax(node: Node, x: Tensor) -> Tensor:
    return torch.softmax(x, node.attributes.get("axis", -1))


@operator("LogSoftmax")
def _log_softmax(node: Node, x: Tensor) -> Tensor:
    return torch.log_softmax(x, node.attributes.get("axis", -1))


_REDUCE: dict[str, Callable[..., Tensor]] = {
    "ReduceMean": torch.mean, "ReduceSum": torch.sum, "ReduceMax": torch.amax, "ReduceMin": torch.amin,
    "ReduceL2": torch.linalg.vector_norm,
}  # fmt: skip


@operator(*_REDUCE, by_torch=True)
def _reduce(node: Node, x: Tensor, axes: Value = None) -> Tensor:
    chosen = axes_of(node, axes)
    if not chosen and node.attributes.get("noop_with_empty_axes", 0):
        return x
    over = tuple(chosen) if chosen else tuple(range(x.ndim))
    return _REDUCE[node.kind](x, dim=over, keepdim=bool(node.attributes.get("keepdims", 1)))
