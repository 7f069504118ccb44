"""Operators that rearrange, slice and concatenate, and those that compute shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from foveal.models.onnx_graph.node import Node, Value
from foveal.models.onnx_graph.operators import Unsupported, axes_of, batched, numbers, operator, padded


@operator("Identity")
def _identity(node: Node, x: Value) -> Value:
    return x


@operator("Cast")
def _cast(node: Node, x: Value) -> Value:
    """Between types of floats nothing changes: the plan sets the precision."""
    import onnx

    wanted = onnx.helper.tensor_dtype_to_np_dtype(node.attributes["to"])
    if isinstance(x, np.ndarray):
        return x.astype(wanted)
    if x is not None and not x.is_floating_point():
        return x.to(torch.float32 if np.issubdtype(wanted, np.floating) else torch.int64)
    return x


@operator("Constant")
def _constant(node: Node) -> Value:
    value = next((v for k, v in node.attributes.items() if k.startswith("value")), None)
    if value is None:
        raise Unsupported(f"{node.kind} ({node.outputs[0]}) without a value")
    return np.asarray(value)


@operator("ConstantOfShape")
def _constant_of_shape(node: Node, shape: Value) -> Value:
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32))).reshape(-1)
    return np.full(numbers(node, shape), value[0], value.dtype)


@operator("Range")
def _range(node: Node, start: Value, end: Value, step: Value) -> Value:
    return np.arange(*(np.asarray(v).item() for v in (start, end, step)))


@operator("Shape")
def _shape(node: Node, x: Value) -> Value:
    shape = x.shape if x is not None else ()
    return np.asarray(shape[node.attributes.get("start", 0) : node.attributes.get("end", len(shape))], np.int64)


@operator("Reshape")
def _reshape(node: Node, x: Value, shape: Value) -> Value:
    wanted = numbers(node, shape)
    if isinstance(x, np.ndarray):
        return x.reshape(wanted)
    assert x is not None
    wanted = batched(node, x, wanted)
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(wanted)])


@operator("Flatten")
def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.attributes.get("axis", 1)
    return x.flatten(axis) if axis == 1 else x.reshape(math.prod(x.shape[:axis]), -1)


@operator("Transpose")
def _transpose(node: Node, x: Value) -> Value:
    order = node.attributes.get("perm") or list(reversed(range(x.ndim)))  # type: ignore[union-attr]
    return x.permute(*order) if isinstance(x, Tensor) else np.transpose(x, order)  # type: ignore[arg-type]


@operator("Squeeze")
def _squeeze(node: Node, x: Value, axes: Value = None) -> Value:
    chosen = axes_of(node, axes)
    if isinstance(x, np.ndarray):
        return x.squeeze(tuple(chosen) if chosen is not None else None)
    return x.squeeze(tuple(chosen)) if chosen is not None else x.squeeze()  # type: ignore[union-attr]


@operator("Unsqueeze")
def _unsqueeze(node: Node, x: Value, axes: Value = None) -> Value:
    chosen = axes_of(node, axes) or []
    if isinstance(x, np.ndarray):
        return np.expand_dims(x, tuple(chosen))
    assert x is not None
    for axis in sorted(a % (x.ndim + len(chosen)) for a in chosen):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def _concat(node: Node, *values: Value) -> Value:
    axis = node.attributes["axis"]
    if all(isinstance(v, np.ndarray) for v in values):
        return np.concatenate([np.asarray(v) for v in values], axis)
    parts = [torch.as_tensor(np.array(v)) if isinstance(v, np.ndarray) else v for v in values]
    images = max(len(p) for p in parts if p is not None)
    if axis % parts[0].ndim and node.batch:  # type: ignore[union-attr]
        # A token that was stored for the graph's own batch is the same for every image.
        parts = [p.expand(images, *p.shape[1:]) if len(p) == node.batch[0] else p for p in parts]  # type: ignore[union-attr,arg-type]
    return torch.cat(parts, axis)  # type: ignore[arg-type]


@operator("Split")
def _split(node: Node, x: Tensor, sizes: Value = None) -> Sequence[Tensor]:
    axis, given = node.attributes.get("axis", 0), axes_of(node, sizes, "split")
    return torch.split_with_sizes(x, given, axis) if given else x.chunk(len(node.outputs), axis)


@operator("Slice")
def _slice(
    node: Node, x: Value, start: Value = None, end: Value = None, axes: Value = None, step: Value = None
) -> Any:  # noqa: ANN401
    starts, ends = (axes_of(node, v, name) or [] for v, name in ((start, "starts"), (end, "ends")))
    chosen = axes_of(node, axes) or list(range(len(starts)))
    steps = numbers(node, step) if step is not None else [1] * len(starts)
    cut = [slice(None)] * x.ndim  # type: ignore[union-attr]
    for axis, first, last, by in zip(chosen, starts, ends, steps, strict=True):
        cut[axis] = slice(first, last, by)
    if isinstance(x, Tensor) and min(steps) < 0:
        raise Unsupported(f"{node.kind} ({node.outputs[0]}) backwards")
    return x[tuple(cut)]  # type: ignore[index]


@operator("Gather")
def _gather(node: Node, x: Value, indices: Value) -> Value:
    axis = node.attributes.get("axis", 0)
    if isinstance(x, np.ndarray) and isinstance(indices, np.ndarray):
        return np.take(x, indices, axis)
    assert isinstance(x, Tensor)
    if isinstance(indices, np.ndarray) and indices.ndim == 0:
        return x.select(axis, int(indices))
    chosen = torch.as_tensor(np.array(indices) if isinstance(indices, np.ndarray) else indices, dtype=torch.long)
    rows = x.index_select(axis, chosen.reshape(-1))
    return rows.reshape(*x.shape[:axis], *chosen.shape, *x.shape[axis + 1 :])


@operator("Expand")
def _expand(node: Node, x: Value, shape: Value) -> Value:
    wanted = numbers(node, shape)
    if isinstance(x, np.ndarray):
        return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(wanted)))
    assert x is not None
    if node.batch and wanted and wanted[0] == node.batch[0] != node.batch[1]:
        wanted = [1, *wanted[1:]]  # stored for the graph's own batch: broadcasting brings the real one
    return x.expand(np.broadcast_shapes(tuple(x.shape), tuple(wanted)))


@operator("Tile")
def _tile(node: Node, x: Tensor, repeats: Value) -> Tensor:
    return x.repeat(numbers(node, repeats))


@operator("Pad")
def _pad(node: Node, x: Tensor, pads: Value = None, value: Value = None, axes: Value = None) -> Tensor:
    given = axes_of(node, pads, "pads") or []
    count = len(given) // 2
    before, after = [0] * x.ndim, [0] * x.ndim
    for at, axis in enumerate(numbers(node, axes) if axes is not None else range(count)):
        before[axis], after[axis] = given[at], given[at + count]
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[
        node.attributes.get("mode", b"constant").decode()
    ]
    if mode == "constant":
        fill = node.attributes.get("value", 0.0) if value is None else float(np.asarray(value).reshape(-1)[0])
        return padded(x, before, after, fill)
    sides = [n for pair in zip(reversed(before[2:]), reversed(after[2:]), strict=True) for n in pair]
    return functional.pad(x, sides, mode=mode)


@operator("Resize", "Upsample")
def _resize(node: Node, x: Tensor, *given: Value) -> Tensor:
    scales = given[0] if node.kind == "Upsample" else given[1] if len(given) > 1 else None
    if len(given) > 2 and given[2] is not None:
        size = numbers(node, given[2])[-2:]
    elif scales is not None and np.asarray(scales).size:
        size = [int(n * s) for n, s in zip(x.shape[2:], np.asarray(scales)[2:], strict=True)]
    else:
        raise Unsupported(f"{node.kind} ({node.outputs[0]}) without sizes")
    mode = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}[
        node.attributes.get("mode", b"nearest").decode()
    ]
    return functional.interpolate(x, size, mode=mode, antialias=bool(node.attributes.get("antialias", 0)))
