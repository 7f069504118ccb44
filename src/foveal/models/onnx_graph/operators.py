"""The registry of operators, and what they share. Source: the ONNX operator specification, opsets 7 to 22.

An operator is a function of the node (for its attributes) and of its inputs: tensors, or numpy arrays where a
value is known on the host (shapes, axes, limits).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.nn import functional

from foveal.models.onnx_graph.node import Node, Operator, Value

OPERATORS: dict[str, Operator] = {}
#: Those whose inputs on the host become tensors first: torch computes them.
BY_TORCH: set[str] = set()


class Unsupported(ValueError):
    """A node that can't be run here; the message says why."""


def operator(*names: str, by_torch: bool = False) -> Callable[[Operator], Operator]:
    """Register a function under ONNX's names."""

    def add(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        BY_TORCH.update(names if by_torch else ())
        return function

    return add


def on_host(node: Node, *values: Value) -> Any:  # noqa: ANN401
    """Compute an operator all of whose inputs are known on the host there, whatever torch mode is active."""
    with unset_fake_temporarily():
        given = [_tensor(v) if node.kind in BY_TORCH else v for v in values]
        out = node.operator(node, *given)
        if isinstance(out, tuple | list):
            return tuple(_array(o) for o in out)
        return _array(out)


def _tensor(value: Value) -> Value:
    return torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value


def _array(value: Value) -> Value:
    return value.numpy() if isinstance(value, Tensor) else value


def numbers(node: Node, value: Value) -> list[int]:
    """The numbers of a value that has to be known before the network runs.

    Raises:
        Unsupported: when it depends on the images.
    """
    if isinstance(value, Tensor):
        raise Unsupported(f"{node.kind} ({node.outputs[0]}) takes sizes that depend on the images")
    return [int(v) for v in np.asarray(value).reshape(-1)]


def axes_of(node: Node, given: Value, name: str = "axes") -> list[int] | None:
    """An input, or in older opsets an attribute; None where neither is given."""
    if given is not None:
        return numbers(node, given)
    return list(node.attributes[name]) if name in node.attributes else None


def batched(node: Node, x: Tensor, shape: list[int]) -> list[int]:
    """A stored shape for `x` whose first size is the graph's own batch size, with that of these images instead."""
    if not node.batch or not shape or shape[0] != node.batch[0] or 0 in node.held:
        return shape
    fits = -1 not in shape and math.prod(shape) == x.numel()
    return shape if fits or x.shape[0] != node.batch[1] else [node.batch[1], *shape[1:]]


def like(value: Value, other: Value) -> Any:  # noqa: ANN401
    """A value as an operand of a tensor: an array becomes a Python number or a tensor of the same type."""
    if not isinstance(value, np.ndarray) or not isinstance(other, Tensor):
        return value
    return value.item() if value.size == 1 else torch.as_tensor(value, dtype=other.dtype, device=other.device)


def padded(x: Tensor, before: list[int], after: list[int], value: float) -> Tensor:
    """Padded before and after, by axis."""
    sides = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
    return functional.pad(x, sides, value=value)
