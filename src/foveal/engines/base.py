"""What every engine can do, and the facts about this machine that name one."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.machine import cpu_name

Pixels = NDArray[np.uint8]
Features = NDArray[np.float32]


class Engine(Protocol):
    """A frozen trunk, ready to run.

    Attributes:
        name: e.g. `openvino`.
        precision: `f32` or `bf16`.
        version: of the library underneath.
    """

    name: str
    precision: str
    version: str

    def submit(self, pixels: Pixels) -> Future[Features]:
        """Start on a batch `(N, H, W, 3)` of 8-bit RGB; the result is `(N, dimension)` in fp32.

        A few batches may be under way at once; with more, the call waits.
        """
        ...

    def __call__(self, pixels: Pixels) -> Features:
        """Run one batch and wait for it."""
        ...

    def release(self) -> None:
        """Give back what can be made again: the compiled network and its memory for batches."""
        ...


def batch_for(engine: Engine) -> int:
    """Pictures at once that suit an engine: in fp32 the maps of 8 stay near a processor, those of 32 do not.

    Lite0 on two cores, fp32: 181-183 pictures/s by 8, 155-168 by 32; bf16: 265 and 280.
    """
    return 8 if (engine.name, engine.precision) == ("openvino", "f32") else 32


def key_of(engine: Engine) -> str:
    """What makes two engines give the same numbers: name, version, precision, processor."""
    return f"{engine.name}-{engine.version}-{engine.precision}-{cpu_name()}"
