"""An ONNX graph, run node by node by torch.

For planning and inspection: every node is a module of its own, so that it has a row in the table of layers. Stored
floats of more than one number are parameters, except running statistics of batch normalisations. Shapes are
computed on the host, with numpy; the graph's own batch size, where it is fixed, gives way to that of the images.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from foveal.models.onnx_graph.graph_input import channels_last, image_input
from foveal.models.onnx_graph.node import Array, Node, Value
from foveal.models.onnx_graph.operators import OPERATORS, on_host

if TYPE_CHECKING:
    import onnx


class OnnxNetwork(nn.Module):
    """A graph, run in its own order.

    Args:
        graph: checked by `read`.
        folder: of the file, for tensors stored in other files next to it.
    """

    def __init__(self, graph: onnx.GraphProto, folder: Path) -> None:
        super().__init__()
        stored = _stored(graph, folder)
        self.input_name, shape = image_input(graph)
        self.channels_last = shape is not None and channels_last(shape)
        self.own_batch = shape[0] if shape and shape[0] else None
        self.results = [value.name for value in graph.output]
        self.constants = {name: value for name, value in stored.items() if isinstance(value, np.ndarray)}
        self.nodes = nn.ModuleDict()
        last: dict[str, str] = {}
        for number, proto in enumerate(graph.node):
            node = _node(proto)
            for position, name in enumerate(node.inputs):
                if isinstance(held := stored.get(name), Tensor):
                    node.hold(position, held)
            key = _module_name(proto, number)
            self.nodes[key] = node
            last |= dict.fromkeys(node.inputs, key)
        self._done = {
            key: [n for n, k in last.items() if k == key and n not in self.results] for key in self.nodes
        }

    def forward(self, images: Tensor) -> Any:  # noqa: ANN401
        """The graph's outputs for images `(N, C, H, W)`: one tensor, or a tuple of several."""
        values: dict[str, Value] = {
            **self.constants,
            self.input_name: images.movedim(1, -1) if self.channels_last else images,
        }
        for key, module in self.nodes.items():
            node: Any = module
            node.batch = (self.own_batch, len(images)) if self.own_batch else None
            given = [values[n] for i, n in enumerate(node.inputs) if n and i not in node.held]
            if given and all(isinstance(v, np.ndarray) for v in given) and not node.held:
                out: Any = on_host(node, *given)
            else:
                out = node(*given)
            values |= dict(zip(node.outputs, out if isinstance(out, tuple | list) else (out,), strict=False))
            for name in self._done[key]:  # freed after its last use, as in a network written by hand
                values.pop(name, None)
            del given, out
        outputs = tuple(values[name] for name in self.results)
        return outputs[0] if len(outputs) == 1 else outputs


def _stored(graph: onnx.GraphProto, folder: Path) -> dict[str, Tensor | Array]:
    """The file's tensors: floats of more than one number as parameters, the others for the host."""
    from onnx import TensorProto

    floats = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
    tensors: dict[str, Tensor | Array] = {}
    for proto in graph.initializer:
        if proto.data_type in floats and int(np.prod(proto.dims)) > 1:
            tensors[proto.name] = nn.Parameter(_weights(proto, folder))
        else:
            tensors[proto.name] = _array(proto, folder)
    return tensors


def _weights(proto: onnx.TensorProto, folder: Path) -> Tensor:
    """A stored tensor; zeros of its shape where it is stored in another file that is missing."""
    import onnx

    try:
        return torch.from_numpy(np.ascontiguousarray(_array(proto, folder), dtype=np.float32).copy())
    except (OSError, ValueError, onnx.checker.ValidationError):
        return torch.zeros(tuple(proto.dims))


def _array(proto: onnx.TensorProto, folder: Path) -> Array:
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(proto, base_dir=str(folder)))


def _node(proto: onnx.NodeProto) -> Node:
    import onnx

    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
    if isinstance(attributes.get("value"), onnx.TensorProto):
        attributes["value"] = onnx.numpy_helper.to_array(attributes["value"])
    kind = type(proto.op_type, (Node,), {})  # the table of layers shows the class's name
    node: Node = kind(proto.op_type, OPERATORS[proto.op_type], attributes, list(proto.input), list(proto.output))
    return node


def _module_name(proto: onnx.NodeProto, number: int) -> str:
    """The node's name as a module may have it, made unique by its number."""
    bare = proto.name.strip("/").replace(".", "_").replace("/", "_")
    return f"{number:03d}_{bare or proto.op_type}"
