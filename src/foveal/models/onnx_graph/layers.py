"""Layers: convolutions, normalisations, poolings, matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from foveal.models.onnx_graph.node import Node, Value
from foveal.models.onnx_graph.operators import Unsupported, like, operator, padded


def _padding(node: Node, x: Tensor, kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """Before and after, by axis."""
    spatial = len(kernel)
    strides, dilations = _of(node, "strides", spatial), _of(node, "dilations", spatial)
    mode = node.attributes.get("auto_pad", b"NOTSET").decode()
    if mode.startswith("SAME"):
        whole = [
            max(0, (math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n)
            for n, s, k, d in zip(x.shape[2:], strides, kernel, dilations, strict=True)
        ]
        less, more = [w // 2 for w in whole], [w - w // 2 for w in whole]
        return (less, more) if mode == "SAME_UPPER" else (more, less)
    pads = list(node.attributes.get("pads", [0] * 2 * spatial))
    return pads[:spatial], pads[spatial:]


def _of(node: Node, name: str, count: int, default: int = 1) -> list[int]:
    return list(node.attributes.get(name, [default] * count))


@operator("Conv")
def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    spatial = weight.ndim - 2
    before, after = _padding(node, x, weight.shape[2:])
    if before != after:
        x, before = padded(x, before, after, 0.0), [0] * spatial
    run: Any = (functional.conv1d, functional.conv2d, functional.conv3d)[spatial - 1]
    strides, dilations = _of(node, "strides", spatial), _of(node, "dilations", spatial)
    return run(x, weight, bias, strides, before, dilations, node.attributes.get("group", 1))  # type: ignore[no-any-return]


@operator("ConvTranspose")
def _conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    spatial = weight.ndim - 2
    before, after = _padding(node, x, weight.shape[2:])
    if before != after or "output_shape" in node.attributes or spatial != 2:
        raise Unsupported(f"{node.kind} ({node.outputs[0]}) with padding of two sizes, or a given output shape")
    strides, more = _of(node, "strides", spatial), _of(node, "output_padding", spatial, 0)
    groups, dilations = node.attributes.get("group", 1), _of(node, "dilations", spatial)
    return functional.conv_transpose2d(x, weight, bias, strides, before, more, groups, dilations)


@operator("BatchNormalization")
def _batch_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    momentum, eps = 1 - node.attributes.get("momentum", 0.9), node.attributes.get("epsilon", 1e-5)
    return functional.batch_norm(x, mean, variance, scale, bias, node.training, momentum, eps)


@operator("InstanceNormalization")
def _instance_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return functional.instance_norm(x, None, None, scale, bias, eps=node.attributes.get("epsilon", 1e-5))


@operator("LayerNormalization")
def _layer_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    axis = node.attributes.get("axis", -1)
    return functional.layer_norm(x, x.shape[axis:], scale, bias, node.attributes.get("epsilon", 1e-5))


@operator("GroupNormalization")
def _group_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return functional.group_norm(
        x, node.attributes["num_groups"], scale, bias, node.attributes.get("epsilon", 1e-5)
    )


@operator("LRN")
def _lrn(node: Node, x: Tensor) -> Tensor:
    a = node.attributes
    return functional.local_response_norm(
        x, a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)
    )


@operator("MaxPool")
def _max_pool(node: Node, x: Tensor) -> Tensor:
    kernel = list(node.attributes["kernel_shape"])
    before, after = _padding(node, x, kernel)
    if before != after:
        x, before = padded(x, before, after, -math.inf), [0] * len(kernel)
    run: Any = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[len(kernel) - 1]
    strides, dilations = _of(node, "strides", len(kernel)), _of(node, "dilations", len(kernel))
    return run(x, kernel, strides, before, dilations, bool(node.attributes.get("ceil_mode", 0)))  # type: ignore[no-any-return]


@operator("AveragePool")
def _average_pool(node: Node, x: Tensor) -> Tensor:
    kernel, counted = list(node.attributes["kernel_shape"]), bool(node.attributes.get("count_include_pad", 0))
    before, after = _padding(node, x, kernel)
    if before != after:
        if not counted:
            raise Unsupported(f"{node.kind} ({node.outputs[0]}) that leaves out padding of two sizes")
        x, before = padded(x, before, after, 0.0), [0] * len(kernel)
    run: Any = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[len(kernel) - 1]
    strides = _of(node, "strides", len(kernel))
    return run(x, kernel, strides, before, bool(node.attributes.get("ceil_mode", 0)), counted)  # type: ignore[no-any-return]


@operator("GlobalAveragePool")
def _global_average(node: Node, x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


@operator("GlobalMaxPool")
def _global_max(node: Node, x: Tensor) -> Tensor:
    return x.amax(tuple(range(2, x.ndim)), keepdim=True)


@operator("Gemm")
def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    attributes = node.attributes
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    a = a.t() if attributes.get("transA", 0) else a
    if alpha == beta == 1.0 and (c is None or c.ndim == 1):
        return functional.linear(a, b if attributes.get("transB", 0) else b.t(), c)
    product: Tensor = alpha * (a @ (b.t() if attributes.get("transB", 0) else b))
    return product if c is None else product + beta * c


@operator("MatMul")
def _matmul(node: Node, a: Value, b: Value) -> Tensor:
    return torch.matmul(like(a, b), like(b, a))


@operator("Einsum")
def _einsum(node: Node, *values: Tensor) -> Tensor:
    return torch.einsum(node.attributes["equation"].decode(), *values)


@operator("Dropout")
def _dropout(node: Node, x: Tensor, ratio: Value = None, training: Value = None) -> Tensor:
    share = node.attributes.get("ratio", 0.5) if ratio is None else float(np.asarray(ratio))
    return functional.dropout(x, share, node.training)
