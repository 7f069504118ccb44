"""The input of a graph: one batch of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveal.models.onnx_graph.operators import Unsupported

if TYPE_CHECKING:
    import onnx


def image_input(graph: onnx.GraphProto) -> tuple[str, tuple[int, int, int, int] | None]:
    """The name of the graph's one input, and its four dimensions (0: not fixed); None where it has no shape.

    Raises:
        Unsupported: for several inputs, or one that is not a batch of images.
    """
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise Unsupported(f"it has {len(inputs)} inputs: {names}")
    tensor = inputs[0].type.tensor_type
    if not tensor.HasField("shape"):
        return inputs[0].name, None
    dims = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else 0 for d in tensor.shape.dim]
    if len(dims) != 4:
        raise Unsupported(f"its input {inputs[0].name} has {len(dims)} dimensions, not (N, C, H, W)")
    return inputs[0].name, (dims[0], dims[1], dims[2], dims[3])


def channels_last(shape: tuple[int, int, int, int]) -> bool:
    """Whether images are `(N, H, W, C)`."""
    return shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
