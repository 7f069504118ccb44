"""An exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of all floating-point tensors of a module's state, buffers included.

    Args:
        module: whose weights are averaged.
        decay: per step; it begins lower and rises to this.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._weights = [t for t in module.state_dict().values() if t.is_floating_point()]
        self.tensors: list[Tensor] = [t.detach().clone() for t in self._weights]

    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.tensors, self._weights, 1 - decay)

    def apply(self) -> None:
        """Replace the module's weights by their average."""
        with torch.no_grad():
            for weight, average in zip(self._weights, self.tensors, strict=True):
                weight.copy_(average)
