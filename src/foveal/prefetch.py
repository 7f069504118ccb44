"""Slow imports that a later stage will need, made while the engine computes."""

from __future__ import annotations

import contextlib
import importlib
import threading


def prefetch(*modules: str) -> None:
    """Import modules in the background. Who needs one earlier waits for it as for any import."""

    def fetch() -> None:
        for name in modules:
            with contextlib.suppress(ImportError):  # it is reported where it is needed
                importlib.import_module(name)

    threading.Thread(target=fetch, name="prefetch", daemon=True).start()
