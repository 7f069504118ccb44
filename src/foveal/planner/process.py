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
from foveal.memory_budget import ALARM, RENDER_CACHE_SHARE


@cache
def measured() -> dict[str, Any]:
    """What `bench/process.py` found.

    `libraries_bytes` once loaded, `thread_bytes` each, `first_step_bytes` that the first step loads, and `malloc`,
    `malloc_frugal`: resident bytes for each byte of tensors, at most. `linear_probe_bytes` is the peak of a training
    without torch, less the rendered images.
    """
    found: dict[str, Any] = json.loads(resources.files("foveal.planner").joinpath("process.json").read_text())
    return found


def process_bytes(allocator_peak: int, threads: int) -> int:
    """Resident bytes of a training process whose tensors peak at `allocator_peak`."""
    return int(_beside(threads) + measured()["malloc"] * allocator_peak)


def tensor_bytes(process: int, threads: int) -> int:
    """Bytes that tensors may peak at in a training process of so many resident bytes; 0 where there is no room."""
    return max(0, int((process - _beside(threads)) / measured()["malloc"]))


def least_process_bytes(*, torch: bool, backbone: bool) -> int:
    """Resident bytes that the least training takes, before tensors and for a few images: an estimate.

    Args:
        torch: whether a network is trained.
        backbone: whether OpenVINO computes features of a frozen backbone.
    """
    known = measured()
    libraries = known["libraries_bytes"] + known["first_step_bytes"]
    if torch and backbone:
        interpreter = 0 if "torch" in sys.modules else rss() or 0  # it is in both
        return int(known["linear_probe_bytes"] + libraries - interpreter)
    if torch:
        return int(libraries / ALARM)
    # Rendered images have a share of any budget.
    return int(known["linear_probe_bytes"] / (1 - RENDER_CACHE_SHARE))


def _beside(threads: int) -> float:
    """Besides the tensors. Where torch is loaded already, its libraries are measured; otherwise their usual size is
    taken."""
    known = measured()
    base = rss() if "torch" in sys.modules else None
    return float(max(base or 0, known["libraries_bytes"]) + threads * known["thread_bytes"])
