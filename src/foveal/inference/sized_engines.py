"""A network on images of many sizes: torch at once, and a compiled engine for each size that is worth one."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foveal.engines import Engine
from foveal.engines.base import Pixels
from foveal.engines.network import Shape, is_ready, network_engine
from foveal.files import digest_of
from foveal.inference.bundle import Bundle, network_of

if TYPE_CHECKING:
    import torch

#: Seconds that torch may take for images of one size until the network is compiled for it. Compiling takes about
#: as long (5 to 12 s), so both together are at most twice what the better of the two would have been.
COMPILE_AFTER = 8.0
_TORCH = "torch-fp32"


class SizedEngines:
    """Computes a bundle's network on pixels of any size. Any number of threads may share one.

    Compiled engines run in parallel. The network in torch is run, measured, exported and traced by one thread at a
    time.

    Args:
        bundle: with a `network`.
        precision: pins `fp32` or `bf16`.
        compile_after: seconds of torch for one size, see `COMPILE_AFTER`.
        engine: NAME-PRECISION of the engine to use from the first image on; None: time decides.

    Attributes:
        name, reason: the engine that was chosen last, and why.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        precision: str | None = None,
        compile_after: float = COMPILE_AFTER,
        engine: str | None = None,
    ) -> None:
        assert bundle.manifest.network is not None
        self._bundle, self._network = bundle, bundle.manifest.network
        self._preprocess = bundle.manifest.preprocess
        self._precision, self._compile_after = precision, compile_after
        self._only_torch = engine == _TORCH
        if engine is not None and engine != _TORCH:
            self._precision, self._compile_after = engine.rpartition("-")[2], 0.0
        self._sha = digest_of([bundle.manifest.weights_sha256, self._network])
        self._lock = threading.RLock()
        self._module: torch.nn.Module | None = None
        self._torch: Engine | None = None
        self._compiled: dict[Shape, Engine] = {}
        self._seconds: defaultdict[Shape, float] = defaultdict(float)  # that torch took
        self.name, self.reason = _TORCH, "too few images of one size to compile for"

    def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
        """Logits `(N, K, H, W)` of images `(N, H, W, C)`, 8 bits."""
        shape: Shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        engine = self._compiled.get(shape)
        if engine is None:
            with self._lock:
                engine = self._compiled.get(shape) or self._compile_if_worth_it(shape, pixels)
                if engine is None:
                    return self._by_torch(shape, pixels)
        return engine(pixels)

    @contextmanager
    def exclusive(self) -> Iterator[torch.nn.Module]:
        """The network in torch, in evaluation mode, for this thread alone."""
        with self._lock:
            yield self._loaded()

    def _loaded(self) -> torch.nn.Module:
        if self._module is None:
            self._module = network_of(self._bundle)
        return self._module

    def _compile_if_worth_it(self, shape: Shape, pixels: Pixels) -> Engine | None:
        """Torch computes in fp32 only; a network that is compiled for this size already costs nothing."""
        worth_it = self._precision == "bf16" or self._seconds[shape] >= self._compile_after
        if self._only_torch or not (worth_it or is_ready(self._sha, self._preprocess, shape)):
            return None
        engine, self.reason = network_engine(
            self._loaded, self._sha, self._preprocess, shape, lambda: pixels[:1], precision=self._precision
        )
        self.name = f"{engine.name}-{engine.precision}"
        self._compiled[shape] = engine
        return engine

    def _by_torch(self, shape: Shape, pixels: Pixels) -> NDArray[np.float32]:
        if self._torch is None:
            from foveal.engines.torch_engine import TorchEngine

            self._torch = TorchEngine(self._loaded(), self._preprocess)
        began = time.monotonic()
        logits = self._torch(pixels)
        self._seconds[shape] += time.monotonic() - began
        return logits
