"""`.onnx` files as networks of torch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from foveal.errors import UsageError
from foveal.models.onnx_graph import elements, layers, shapes
from foveal.models.onnx_graph.graph_input import channels_last, image_input
from foveal.models.onnx_graph.network import OnnxNetwork
from foveal.models.onnx_graph.operators import OPERATORS, Unsupported

if TYPE_CHECKING:
    import onnx

__all__ = ["OnnxNetwork", "elements", "layers", "read", "shapes"]


def read(path: Path) -> tuple[onnx.GraphProto, tuple[int, int, int] | None]:
    """A file's graph, checked, and the shape `(C, H, W)` of its images where it is fixed.

    Raises:
        UsageError: for a file that is not an ONNX graph, or has several inputs or unknown operators.
    """
    try:
        import onnx
    except ImportError:
        raise UsageError(
            f"{path}: reading .onnx files needs the package onnx", hint='pip install "foveal[export]"'
        ) from None
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # protobuf's own errors have no common root
        raise UsageError(f"{path}: not an ONNX file ({str(error)[:100]})", hint="is the file complete?") from None
    if not graph.node:
        raise UsageError(f"{path}: not an ONNX file (it has no graph)", hint="is the file complete?")
    unknown = Counter(
        node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        for node in graph.node
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx")
    )
    if unknown:
        named = ", ".join(f"{name} ({count})" for name, count in sorted(unknown.items()))
        raise UsageError(
            f"{path}: operators that foveal can't plan: {named}",
            hint="give the network it was exported from: a run folder, a timm name, or package.module:function",
        )
    try:
        shape = image_input(graph)[1]
    except Unsupported as refusal:
        raise UsageError(
            f"{path}: {refusal}", hint="foveal plans networks that take one batch of images"
        ) from None
    if shape is None or not all(shape[1:]):
        return graph, None
    _, *rest = shape
    return graph, (rest[2], rest[0], rest[1]) if channels_last(shape) else (rest[0], rest[1], rest[2])
