"""Threads of the libraries that multiply matrices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Products of matrices on one core.

    Small matrices gain nothing from a second one, and beside other programs threads that wait for each other take
    twenty times as long.
    """
    with _libraries().limit(limits=1):
        yield


@cache
def _libraries() -> ThreadpoolController:
    """NumPy's and SciPy's; to look for them takes longer than a small fit."""
    import scipy.linalg  # noqa: F401  # which has one of its own

    return ThreadpoolController()
