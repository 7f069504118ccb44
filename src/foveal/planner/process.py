"""The whole process: what lies resident beside the allocator's tensors. An estimate, and a figure of its own."""

from __future__ import annotations

import sys

from foveal.machine import rss

#: Guesses, not measured: bytes of the libraries once loaded, of each thread, and what malloc adds to the tensors.
_LIBRARIES = 330 * 2**20
_THREAD = 4 * 2**20
_MALLOC = 1.10


def process_bytes(allocator_peak: int, threads: int) -> int:
    """Resident bytes of a training process whose tensors peak at `allocator_peak`.

    Where torch is loaded already, its libraries are measured; otherwise their usual size is taken.
    """
    base = rss() if "torch" in sys.modules else None
    return int(max(base or 0, _LIBRARIES) + threads * _THREAD + _MALLOC * allocator_peak)
