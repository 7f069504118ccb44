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
        choose: the first batch `(N, H, W, C)`, 8 bits → the engine.
    """

    def __init__(self, choose: Callable[[Pixels], Engine]) -> None:
        self._choose = choose
        self._choosing = threading.Lock()
        self._engine: Engine | None = None

    @property
    def batch_size(self) -> int:
        """See `Engine`."""
        return self._engine.batch_size if self._engine else FIRST_BATCH

    @property
    def name(self) -> str:
        """See `Engine`; empty before there is one."""
        return self._engine.name if self._engine else ""

    @property
    def precision(self) -> str:
        """See `Engine`; empty before there is one."""
        return self._engine.precision if self._engine else ""

    @property
    def version(self) -> str:
        """See `Engine`; empty before there is one."""
        return self._engine.version if self._engine else ""

    def submit(self, pixels: Pixels) -> Future[Features]:
        """See `Engine.submit`."""
        with self._choosing:
            if self._engine is None:
                self._engine = self._choose(pixels)
        return self._engine.submit(pixels)

    def __call__(self, pixels: Pixels) -> Features:
        """See `Engine.__call__`."""
        return self.submit(pixels).result()

    def release(self) -> None:
        """See `Engine.release`."""
        if self._engine:
            self._engine.release()
