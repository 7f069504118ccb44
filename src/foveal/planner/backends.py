"""Which backend computes on this machine."""

from __future__ import annotations

from foveal.machine import instruction_sets
from foveal.planner.convolution import Backend


def backend_for(device: str, threads: int) -> Backend:
    """The backend of a device; a CPU is this machine's."""
    sets = set(instruction_sets())
    wide = "avx512f" in sets
    return Backend(device=device, threads=threads, block=16 if wide else 8, bf16=wide or "amx_bf16" in sets)
