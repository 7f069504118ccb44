"""The machine: the cores, instruction sets and memory that this process may use."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import platform
import re
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from foveal.errors import UsageError

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_UNITS |= {"k": 2**10, "m": 2**20, "g": 2**30}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _LARGE = -1, -3, 2**20
_MADV_DONTNEED = 4
#: New objects between two collections while modules are imported; usually there are 700.
_MANY_OBJECTS = 100_000
#: Spins of a libgomp thread before it sleeps; libgomp uses this value itself if threads outnumber the cores.
_SPINS = "1000"


def cores() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The model name of the processor."""
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """The instruction sets of the processor that matter for neural networks."""
    wanted = (
        "avx2",
        "fma",
        "f16c",
        "avx512f",
        "avx512_bf16",
        "avx512_vnni",
        "avx_vnni",
        "amx_bf16",
        "amx_int8",
        "asimd",
    )
    for line in _lines("/proc/cpuinfo"):
        if line.startswith(("flags", "Features")):
            have = set(line.partition(":")[2].split())
            return [name for name in wanted if name in have]
    return []


def memory_limit() -> int | None:
    """Bytes this process may use: the smaller of cgroup limit and available memory; None if unknown."""
    known = [cgroup_limit(), available()]
    return min((n for n in known if n is not None), default=None)


def bytes_of(text: str | int) -> int:
    """Bytes in `8GiB`, `500MB`, `2G` (binary) or a number without a unit.

    Raises:
        UsageError: for an invalid or zero size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(text))
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or float(match[1]) <= 0:
        raise UsageError(f"invalid memory size {text!r}", hint="for example 8GiB, 500MB or 1073741824")
    return int(float(match[1]) * unit)


def peak_rss() -> int:
    """Peak resident memory of this process, bytes.

    Not `ru_maxrss` on Linux: it survives `exec`, so a process started by a large one would report that one's peak.
    """
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def rss() -> int | None:
    """Resident memory of this process, bytes; None if unknown."""
    for line in _lines("/proc/self/statm"):
        return int(line.split()[1]) * resource.getpagesize()
    return None


def return_large_blocks() -> None:
    """Make glibc return large freed blocks to the system at once: resident memory then follows the live tensors.

    For processes with a memory limit. Costs some time for page faults.
    """
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
            libc.mallopt(_M_TRIM_THRESHOLD, _LARGE)
        except (OSError, AttributeError):  # another C library
            return


@contextmanager
def few_collections() -> Iterator[None]:
    """Let the garbage collector wait while modules are imported: what they make stays anyway.

    It would otherwise go through all of that several times, a tenth of the time until the first prediction.
    """
    usual = gc.get_threshold()
    gc.set_threshold(_MANY_OBJECTS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def share_cores() -> None:
    """Let OpenMP threads that wait for each other yield their core soon. Call it before torch is imported.

    By default libgomp threads spin for milliseconds, which costs time if another program is busy
    (`bench/beside.py`). The user's own environment variables take precedence.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def release_file_pages() -> None:
    """Release resident pages that are unchanged copies of files, mainly the code of libraries.

    They are read again from the file, or the page cache, on their next use. Hundreds of megabytes of a `torch`
    built for GPUs are never used on a machine without one. For processes with a memory limit; Linux only.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for start, end in clean_file_mappings(_lines("/proc/self/smaps")):
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def clean_file_mappings(smaps: Sequence[str]) -> list[tuple[int, int]]:
    """Address ranges of private file mappings that are read-only and were never written to."""
    ranges, current = [], None
    for line in smaps:
        header = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+\s+/", line)
        if header:
            current = (int(header[1], 16), int(header[2], 16)) if re.fullmatch("r-[x-]p", header[3]) else None
        elif re.match(r"[0-9a-f]+-", line):
            current = None
        elif current and line.startswith("Anonymous:") and line.split()[1] == "0":
            ranges.append(current)
    return ranges


@functools.cache
def versions() -> Mapping[str, str]:
    """Versions of Python, the system and the main dependencies, without importing them. Read once a process."""
    from importlib import metadata  # keeps `foveal --help` fast

    known = {"python": platform.python_version(), "system": platform.platform()}
    for name in ("foveal", "numpy", "pillow", "openvino", "scikit-learn", "torch", "torchvision", "timm"):
        try:
            known[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            known[name] = "not installed"
    return known


def cgroup_limit() -> int | None:
    """The memory limit of this process's cgroups, version 1 or 2, in bytes; None if there is none."""
    limits = []
    for name in _cgroup_files():
        for line in _lines(name):
            if line.strip().isdigit() and int(line) < 1 << 60:
                limits.append(int(line))
    return min(limits, default=None)


def _cgroup_files() -> list[str]:
    """Files that may hold a limit: of the root group, a container's own, and of every group of this process."""
    files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
    for line in _lines("/proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        groups = [p for p in (Path(path), *Path(path).parents) if p != Path("/")]
        if controllers == "":
            files += [f"/sys/fs/cgroup{group}/memory.max" for group in groups]
        elif "memory" in controllers.split(","):
            files += [f"/sys/fs/cgroup/memory{group}/memory.limit_in_bytes" for group in groups]
    return files


def available() -> int | None:
    """Available memory of the system, bytes; None if unknown."""
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
