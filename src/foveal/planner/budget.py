"""How much memory there may be: the least of what the machine has and what was requested."""

from __future__ import annotations

import re
from dataclasses import dataclass

from foveal.errors import UsageError
from foveal.machine import bytes_of, memory_limit
from foveal.planner.process import tensor_bytes


@dataclass(frozen=True)
class Budget:
    """How much memory there is.

    Attributes:
        size: bytes for tensors; None when nothing limits them.
        source: who says so.
        whole: bytes in all: of a device, or of the process, whose libraries and malloc have their part.
    """

    size: int | None
    source: str
    whole: int | None = None


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


def budget_for(device: str, memory: str | int | None, threads: int = 1) -> Budget:
    """The least of what is requested, the cgroup's limit and what is available.

    On a CPU that is resident memory of the whole process, on a GPU that of tensors.
    """
    name, own = device_of(device)
    limits: list[tuple[int, str]] = []
    if memory is not None:
        limits.append((bytes_of(memory), "--memory"))
    if own is not None:
        limits.append((own, "--device"))
    if name == "cpu" and (limit := memory_limit()) is not None:
        limits.append((limit, "what is available to this process"))
    if not limits:
        return Budget(None, "nothing limits it")
    whole, source = min(limits)
    return Budget(tensor_bytes(whole, threads) if name == "cpu" else whole, source, whole)
