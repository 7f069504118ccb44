"""How much memory there may be: the least of what the machine has and what was requested."""

from __future__ import annotations

import re
from dataclasses import dataclass

from foveal.errors import UsageError
from foveal.machine import bytes_of, memory_limit


@dataclass(frozen=True)
class Budget:
    """Bytes, None when nothing limits; and who says so."""

    size: int | None
    source: str


def device_of(text: str) -> tuple[str, int | None]:
    """`cpu`, `cuda` or `cuda:24GiB`, as name and memory. `cuda:0`, the first GPU, says nothing about memory.

    Raises:
        UsageError: for any other.
    """
    name, _, size = text.partition(":")
    if name not in ("cpu", "cuda") or (name == "cpu" and size):
        raise UsageError(f"no device is named {text!r}", hint="cpu, or cuda:24GiB with the memory of the GPU")
    if re.fullmatch(r"\d{0,2}", size):
        return name, None
    return name, bytes_of(size)


def budget_for(device: str, memory: str | int | None) -> Budget:
    """The least of what is requested, the cgroup's limit and what is available."""
    name, own = device_of(device)
    found: list[tuple[int, str]] = []
    if memory is not None:
        found.append((bytes_of(memory), "--memory"))
    if own is not None:
        found.append((own, "--device"))
    if name == "cpu" and (limit := memory_limit()) is not None:
        found.append((limit, "what is available to this process"))
    return Budget(*min(found)) if found else Budget(None, "nothing limits it")
