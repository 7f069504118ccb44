"""Slow imports that a later stage will need, made while the engine computes."""

from __future__ import annotations

import contextlib
import importlib
import threading

_NAME = "prefetch"


def prefetch(*modules: str) -> None:
    """Import modules in the background. Who needs one earlier waits for it as for any import.

    A process that ends waits for the module that is under way: it can't be torn down while it loads.
    """
    ending = threading.main_thread()

    def fetch() -> None:
        for name in modules:
            if not ending.is_alive():
                return
            with contextlib.suppress(ImportError, RuntimeError):  # it is reported where it is needed
                importlib.import_module(name)

    threading.Thread(target=fetch, name=_NAME).start()


def fetched() -> None:
    """Wait for these imports: beside them, steps that are measured take many times as long as they will."""
    for thread in threading.enumerate():
        if thread.name == _NAME:
            thread.join()
