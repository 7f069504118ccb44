"""How much memory there may be: the least of what the machine has and what was asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from foveal.errors import UsageError
from foveal.machine import memory_limit

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_UNITS |= {"k": 2**10, "m": 2**20, "g": 2**30}


@dataclass(frozen=True)
class Budget:
    """Bytes, None when nothing limits; and who says so."""

    size: int | None
    source: str


def bytes_of(text: str | int) -> int:
    """`8GiB`, `500MB`, `2G` (binary), or a number of bytes.

    Raises:
        UsageError: when it is no size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(text))
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or float(match[1]) <= 0:
        raise UsageError(f"{text!r} is no size of memory", hint="as in 8GiB, 500MB or 1073741824")
    return int(float(match[1]) * unit)


def device_of(text: str) -> tuple[str, int | None]:
    """`cpu`, `cuda` or `cuda:24GiB`, as name and memory.

    Raises:
        UsageError: for any other.
    """
    name, _, size = text.partition(":")
    if name not in ("cpu", "cuda"):
        raise UsageError(f"no device is named {text!r}", hint="cpu, or cuda:24GiB with the memory of the GPU")
    return name, bytes_of(size) if size else None


def budget_for(device: str, memory: str | int | None) -> Budget:
    """The least of what is asked for, the cgroup's limit and what is available."""
    name, own = device_of(device)
    found: list[tuple[int, str]] = []
    if memory is not None:
        found.append((bytes_of(memory), "--memory"))
    if own is not None:
        found.append((own, "--device"))
    if name == "cpu" and (limit := memory_limit()) is not None:
        found.append((limit, "what is available to this process"))
    return Budget(*min(found)) if found else Budget(None, "nothing limits it")
