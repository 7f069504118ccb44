"""An engine that is chosen when the first batch is there: on these images it is compared with the reference."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from foveal.engines.base import Engine, Features, Pixels

#: Images of the first batch: few, so that a slow reference does not take long.
FIRST_BATCH = 8


class DeferredEngine:
    """Stands for an engine until there is a batch to choose it with. Any number of threads may share one.

    Args:
        choose: the first batch `(N, H, W, C)`, 8 bits → the engine. Until then its attributes are empty.
    """

    def __init__(self, choose: Callable[[Pixels], Engine]) -> None:
        self._choose = choose
        self._choosing = threading.Lock()
        self._engine: Engine | None = None
        self.name, self.precision, self.version, self.batch_size = "", "", "", FIRST_BATCH

    def submit(self, pixels: Pixels) -> Future[Features]:
        """See `Engine.submit`."""
        with self._choosing:
            if self._engine is None:
                self._engine = engine = self._choose(pixels)
                self.name, self.precision, self.version = engine.name, engine.precision, engine.version
                self.batch_size = engine.batch_size
        return self._engine.submit(pixels)

    def __call__(self, pixels: Pixels) -> Features:
        """See `Engine.__call__`."""
        return self.submit(pixels).result()

    def release(self) -> None:
        """See `Engine.release`."""
        if self._engine:
            self._engine.release()
