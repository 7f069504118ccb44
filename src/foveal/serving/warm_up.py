"""What the first request would have to wait for, done in a thread while the server starts."""

from __future__ import annotations

import threading
from collections.abc import Callable


class WarmUp:
    """Runs a function in a thread, at once.

    Attributes:
        failure: what it raised.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self.failure: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name="warm-up", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether it succeeded."""
        return not self._thread.is_alive() and self.failure is None

    def join(self) -> None:
        """Wait for it."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.failure = error
