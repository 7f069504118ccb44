"""torch on whatever it finds: CUDA, MPS, or the CPU in channels_last. Tested on a CPU only."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from foveal.engines.base import Features, Pixels
from foveal.models.backbones import load_trunk
from foveal.values import Backbone, Preprocess

if TYPE_CHECKING:
    import torch


class TorchEngine:
    """A frozen trunk, or a network with its head, in torch: one worker, two batches under way.

    Args:
        network: a backbone, or a network that gives one row a picture.
        preprocess: how its input was made.
        precision: `f32` or `bf16`.
        device: by default the first that is there.
        stages: whether every stage of a backbone, pooled, follows the features.
    """

    name = "torch"

    def __init__(
        self,
        network: Backbone | torch.nn.Module,
        preprocess: Preprocess,
        *,
        precision: str = "f32",
        device: str | None = None,
        stages: bool = False,
    ) -> None:
        import torch

        self.precision = precision
        self.device = device or best_device()
        self.version = f"{torch.__version__}-{self.device}"
        self._type = torch.bfloat16 if precision == "bf16" else torch.float32
        module = network if isinstance(network, torch.nn.Module) else load_trunk(network, pooled=stages)
        self._trunk = module.eval().to(self.device, self._type, memory_format=torch.channels_last)  # type: ignore[call-overload]
        channels = preprocess.channels
        self._mean = torch.tensor(preprocess.mean[:channels], device=self.device).view(1, channels, 1, 1)
        self._std = torch.tensor(preprocess.std[:channels], device=self.device).view(1, channels, 1, 1)
        self._pool = ThreadPoolExecutor(1)

    def submit(self, pixels: Pixels) -> Future[Features]:
        """See `Engine.submit`."""
        return self._pool.submit(self._run, np.ascontiguousarray(pixels))

    def __call__(self, pixels: Pixels) -> Features:
        """See `Engine.__call__`."""
        return self.submit(pixels).result()

    def release(self) -> None:
        """See `Engine.release`; on a CPU torch keeps nothing between batches."""
        import torch

        if self.device == "cuda":
            torch.cuda.empty_cache()

    def _run(self, pixels: Pixels) -> Features:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float()
            features = self._trunk(((batch - self._mean) / self._std).to(self._type))
            result: Features = features.float().cpu().numpy()
        return result


def best_device() -> str:
    """`cuda`, `mps` or `cpu`: the first that is there."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
