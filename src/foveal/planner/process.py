"""The whole process: what lies resident besides the allocator's tensors. An estimate, and a figure of its own.

The figures in `process.json` were measured and written by `bench/process.py`.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib import resources
from typing import Any

from foveal.machine import rss


@cache
def measured() -> dict[str, Any]:
    """What `bench/process.py` found.

    `libraries_bytes` once loaded, `thread_bytes` each, `first_step_bytes` that the first step loads, and `malloc`,
    `malloc_frugal`: resident bytes for each byte of tensors, at most.
    """
    found: dict[str, Any] = json.loads(resources.files("foveal.planner").joinpath("process.json").read_text())
    return found


def process_bytes(allocator_peak: int, threads: int) -> int:
    """Resident bytes of a training process whose tensors peak at `allocator_peak`.

    Where torch is loaded already, its libraries are measured; otherwise their usual size is taken.
    """
    known = measured()
    base = rss() if "torch" in sys.modules else None
    beside = max(base or 0, known["libraries_bytes"]) + threads * known["thread_bytes"]
    return int(beside + known["malloc"] * allocator_peak)
