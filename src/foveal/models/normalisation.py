"""Pixels as a network takes them: `(value - mean) / std` by channel, in numpy and in torch.

OpenVINO has it inside the graph, see `engines.openvino_engine.normalising`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foveal.values import Preprocess

if TYPE_CHECKING:
    from torch import Tensor


def normalised(pixels: NDArray[Any], preprocess: Preprocess) -> NDArray[np.float32]:
    """Images `(N, C, H, W)` with values in 0-255; for models that need no torch."""
    mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in preprocess.statistics)
    result: NDArray[np.float32] = (pixels - mean) / std
    return result


class Normalisation:
    """Images `(N, C, H, W)` with values in 0-255, of any type, to normalised fp32 on a device.

    Attributes:
        mean, std: of the channels, each `(1, C, 1, 1)`.
    """

    def __init__(self, preprocess: Preprocess, device: str = "cpu") -> None:
        import torch

        self._device = device
        self.mean, self.std = (torch.tensor(v, device=device).view(1, -1, 1, 1) for v in preprocess.statistics)

    def __call__(self, pixels: Tensor) -> Tensor:
        """See the class; the strides stay those of the pixels."""
        return (pixels.to(self._device).float() - self.mean) / self.std
