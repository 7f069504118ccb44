"""Threads of the libraries that multiply matrices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit matrix products to one thread.

    Small matrices gain nothing from a second thread. On a busy machine, threads that wait for each other took twenty
    times as long.
    """
    with _libraries().limit(limits=1):
        yield


@cache
def _libraries() -> ThreadpoolController:
    """Those of NumPy and SciPy, looked up once: a lookup takes longer than a small fit."""
    import scipy.linalg  # noqa: F401  # which has one of its own

    return ThreadpoolController()
