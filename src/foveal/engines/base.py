"""What every engine can do, and what makes two of them give the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.machine import cpu_name
from foveal.values import Backbone, Preprocess

Pixels = NDArray[np.uint8]
Features = NDArray[np.float32]

#: What suits most engines, images.
BATCH_SIZE = 32


class Engine(Protocol):
    """A network, ready to run.

    Attributes:
        name: e.g. `openvino`.
        precision: `fp32` or `bf16`.
        version: of the library that computes.
        batch_size: images that it computes best at once.
    """

    name: str
    precision: str
    version: str
    batch_size: int

    def submit(self, pixels: Pixels) -> Future[Features]:
        """Start on a batch `(N, H, W, C)` of 8-bit images; the result is `(N, dimension)` in fp32.

        Batches are queued without a limit: the caller bounds how many are in flight.
        """
        ...

    def __call__(self, pixels: Pixels) -> Features:
        """Run one batch and wait for it."""
        ...

    def release(self) -> None:
        """Free what can be made again: the compiled network and its memory for batches."""
        ...


@dataclass(frozen=True)
class EngineSpec:
    """One way to compute the features of a backbone.

    Attributes:
        name: unique, as in the decisions of a run: library and precision, `openvino-bf16`.
        precision: `fp32` or `bf16`.
        is_available: whether this machine can do it; costs next to nothing.
        build: backbone, preprocessing of its input, and whether every stage, pooled, follows the features (see
            `models.backbone_stages.pool_stages`) → the engine.
    """

    name: str
    precision: str
    is_available: Callable[[], bool]
    build: Callable[[Backbone, Preprocess, bool], Engine]


def key_of(engine: Engine) -> str:
    """What two engines have in common that give the same numbers: name, version, precision, processor."""
    return f"{engine.name}-{engine.version}-{engine.precision}-{cpu_name()}"
