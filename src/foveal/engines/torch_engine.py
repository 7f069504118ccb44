"""torch on CUDA, MPS, or the CPU in channels_last. Tested on a CPU only."""

from __future__ import annotations

import platform
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foveal.devices import AUTO, kind_of, wanted_device
from foveal.engines.base import BATCH_SIZE, EngineSpec, Features, Pixels
from foveal.models.backbones import load_feature_network
from foveal.models.normalisation import Normalisation
from foveal.values import Backbone, Preprocess

if TYPE_CHECKING:
    import torch


class TorchEngine:
    """A backbone, or a network with its head, in torch: one worker thread.

    Args:
        network: a backbone, or a network that gives one row for each image.
        preprocess: how its input was made.
        precision: `fp32` or `bf16`.
        device: by default the one that is asked for, or the first that is available.
        stages: whether every stage of a backbone, pooled, follows the features.
    """

    name = "torch"

    def __init__(
        self,
        network: Backbone | torch.nn.Module,
        preprocess: Preprocess,
        *,
        precision: str = "fp32",
        device: str | None = None,
        stages: bool = False,
    ) -> None:
        import torch

        self.precision, self.batch_size = precision, BATCH_SIZE
        self.device = device or best_device()
        self.version = f"{torch.__version__}-{self.device}"
        self._type = torch.bfloat16 if precision == "bf16" else torch.float32
        module = network if isinstance(network, torch.nn.Module) else load_feature_network(network, pooled=stages)
        self._module = module.eval().to(self.device, self._type, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._normalise = Normalisation(preprocess, self.device)
        self._pool = ThreadPoolExecutor(1)

    def submit(self, pixels: Pixels) -> Future[Features]:
        """See `Engine.submit`."""
        return self._pool.submit(self._run, np.ascontiguousarray(pixels))

    def __call__(self, pixels: Pixels) -> Features:
        """See `Engine.__call__`."""
        return self.submit(pixels).result()

    def release(self) -> None:
        """See `Engine.release`. On a CPU torch holds nothing between batches."""
        import torch

        if kind_of(self.device) == "cuda":
            torch.cuda.empty_cache()

    def _run(self, pixels: Pixels) -> Features:
        import torch

        with torch.inference_mode():
            batch = self._normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2))
            features = self._module(batch.to(self._type))
            result: Features = features.float().cpu().numpy()
        return result


def best_device() -> str:
    """The device that `--device` asks for; otherwise `cuda`, `mps` or `cpu`: the first that is available."""
    if (wanted := wanted_device()) != AUTO:
        return wanted
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def may_have_gpu() -> bool:
    """A guess that costs nothing: only torch could tell, and it takes seconds to import.

    Where a device is asked for: whether it is a GPU.
    """
    if (wanted := wanted_device()) != AUTO:
        return wanted != "cpu"
    return Path("/dev/nvidia0").exists() or (sys.platform == "darwin" and platform.machine() == "arm64")


FP32 = EngineSpec(
    "torch-fp32",
    "fp32",
    may_have_gpu,
    lambda backbone, preprocess, stages: TorchEngine(backbone, preprocess, stages=stages),
)
