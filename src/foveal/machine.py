"""The machine: what there is of it for this process."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from foveal.errors import UsageError

#: Of a budget for resident memory, the share from which on something is done to stay under it.
ALARM = 0.92
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _LARGE = -1, -3, 2**20
_MADV_DONTNEED = 4
#: How often a thread of libgomp looks before it sleeps: what it takes itself where threads outnumber the cores.
_SPINS = "1000"
_UNITS |= {"k": 2**10, "m": 2**20, "g": 2**30}


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's model, as the system gives it."""
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """Those that matter to networks, of what the processor has."""
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
    """Bytes this process may use: the least of the cgroup's limit and what is available; None if unknown."""
    known = [cgroup_limit(), available()]
    return min((n for n in known if n is not None), default=None)


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


def peak_rss() -> int:
    """The most memory this process has had resident, bytes.

    Linux's `ru_maxrss` lives on through `exec`: a run begun by a large process would tell that one's peak.
    """
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def rss() -> int | None:
    """Memory that this process has resident now, bytes; None where the system does not say."""
    for line in _lines("/proc/self/statm"):
        return int(line.split()[1]) * resource.getpagesize()
    return None


def frugal_malloc() -> None:
    """From here on glibc gives large blocks back at once: resident memory follows what tensors hold.

    For processes with a budget. Costs some time for pages that are taken again.
    """
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
            libc.mallopt(_M_TRIM_THRESHOLD, _LARGE)
        except (OSError, AttributeError):  # another C library
            return


def share_cores() -> None:
    """Threads that wait for one another soon let go of their core; to be said before torch is imported.

    libgomp lets them spin for milliseconds instead: beside another busy program that costs time
    (`bench/beside.py`). What the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def forget_code() -> None:
    """Give back resident pages that stand unchanged in files, libraries' code above all.

    They come back from the file, or its cache, when they are touched. Of a `torch` that was built for GPUs
    hundreds of megabytes never are on a machine without one. For processes with a budget; Linux only.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for start, end in _unchanged(_lines("/proc/self/smaps")):
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def _unchanged(smaps: Sequence[str]) -> list[tuple[int, int]]:
    """Address ranges of private mappings of files that can't be written to, and were not before."""
    found, at = [], None
    for line in smaps:
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+\s+/", line)
        if head:
            at = (int(head[1], 16), int(head[2], 16)) if re.fullmatch("r-[x-]p", head[3]) else None
        elif re.match(r"[0-9a-f]+-", line):
            at = None
        elif at and line.startswith("Anonymous:") and line.split()[1] == "0":
            found.append(at)
    return found


def versions() -> dict[str, str]:
    """Versions of Python and of what foveal stands on, without importing any of it."""
    from importlib import metadata  # not for `foveal --help` to wait for

    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in ("foveal", "numpy", "pillow", "openvino", "scikit-learn", "torch", "torchvision", "timm"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def cgroup_limit() -> int | None:
    """Bytes that this process's cgroups allow it, version 1 or 2; None where they set no limit."""
    limits = []
    for name in _cgroup_files():
        for line in _lines(name):
            if line.strip().isdigit() and int(line) < 1 << 60:
                limits.append(int(line))
    return min(limits, default=None)


def _cgroup_files() -> list[str]:
    """Where limits may stand: at the root, which is a container's own, and at each group of this process."""
    found = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
    for line in _lines("/proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        groups = [p for p in (Path(path), *Path(path).parents) if p != Path("/")]
        if controllers == "":
            found += [f"/sys/fs/cgroup{group}/memory.max" for group in groups]
        elif "memory" in controllers.split(","):
            found += [f"/sys/fs/cgroup/memory{group}/memory.limit_in_bytes" for group in groups]
    return found


def available() -> int | None:
    """Bytes that the system could still give, None where it does not say."""
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
