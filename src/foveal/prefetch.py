"""Imports slow modules in the background, for a later stage."""

from __future__ import annotations

import contextlib
import importlib
import threading

_NAME = "prefetch"


def prefetch(*modules: str) -> None:
    """Import modules in a background thread. Code that needs one earlier waits for it, as for any import.

    At exit the process waits for the import in progress, because an interpreter must not be finalized during one.
    """
    main_thread = threading.main_thread()

    def fetch() -> None:
        for name in modules:
            if not main_thread.is_alive():
                return
            with contextlib.suppress(ImportError, RuntimeError):  # raised again where the module is needed
                importlib.import_module(name)

    threading.Thread(target=fetch, name=_NAME).start()


def is_importing() -> bool:
    """Whether background imports are still under way."""
    return any(thread.name == _NAME for thread in threading.enumerate())


def wait_for_prefetch() -> None:
    """Wait for the background imports: training steps measured during them are many times too slow."""
    for thread in threading.enumerate():
        if thread.name == _NAME:
            thread.join()
