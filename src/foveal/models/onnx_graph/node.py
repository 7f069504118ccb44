"""One node of an ONNX graph as a module of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

#: Inputs of a batch normalisation that are statistics, not parameters.
_STATISTICS = (3, 4)

Array = np.ndarray[Any, np.dtype[Any]]
Value = Tensor | Array | None
Operator = Callable[..., Any]


class Node(nn.Module):
    """One node of the graph: its stored tensors, and its operator.

    Args:
        kind: ONNX's name of the operator.
        operator: computes it, see `operators`.
        attributes: of the node.
        inputs: names of values; empty for an optional input that is not given.
        outputs: names of values.
    """

    def __init__(
        self,
        kind: str,
        operator: Operator,
        attributes: dict[str, Any],
        inputs: list[str],
        outputs: list[str],
    ) -> None:
        super().__init__()
        self.kind, self.operator, self.attributes = kind, operator, attributes
        self.inputs, self.outputs = inputs, outputs
        #: The graph's own batch size and that of the images, where the graph's is fixed.
        self.batch: tuple[int, int] | None = None
        #: Position of an input → name of the stored tensor.
        self.held: dict[int, str] = {}

    def hold(self, position: int, tensor: Tensor) -> None:
        """Keep a stored tensor as the input at this position."""
        name = f"input_{position}"
        if isinstance(tensor, nn.Parameter) and not (
            self.kind == "BatchNormalization" and position in _STATISTICS
        ):
            self.register_parameter(name, tensor)
        else:
            self.register_buffer(name, tensor.detach())
        self.held[position] = name

    def forward(self, *values: Value) -> Any:  # noqa: ANN401
        """The node's outputs, for the values that are not stored, in order."""
        given = iter(values)
        inputs = [
            getattr(self, self.held[i]) if i in self.held else None if not name else next(given)
            for i, name in enumerate(self.inputs)
        ]
        return self.operator(self, *inputs)
