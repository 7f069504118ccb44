"""The machine: memory limits, resident memory, threads."""

import os
import subprocess
import sys

import pytest

from foveal import machine

MIB = 2**20


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"/sys/fs/cgroup/memory.max": "max"}, None),
        ({"/sys/fs/cgroup/memory.max": str(512 * MIB)}, 512 * MIB),
        ({"/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        (
            {
                "/proc/self/cgroup": "0::/user.slice/job.scope",
                "/sys/fs/cgroup/user.slice/memory.max": str(300 * MIB),
            },
            300 * MIB,
        ),
        (
            {
                "/proc/self/cgroup": "4:memory:/jobs/one\n0::/",
                "/sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes": str(200 * MIB),
                "/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes": str(100 * MIB),
            },
            100 * MIB,
        ),
    ],
)
def test_the_smallest_limit_of_all_groups_counts(files, limit, monkeypatch):
    monkeypatch.setattr(machine, "_lines", lambda path: files.get(str(path), "").splitlines())
    assert machine.cgroup_limit() == limit


def test_memory_limit_is_the_smaller_of_cgroup_limit_and_available_memory(monkeypatch):
    files = {"/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 4000 kB", "/sys/fs/cgroup/memory.max": "5000000"}
    monkeypatch.setattr(machine, "_lines", lambda path: files.get(str(path), "").splitlines())
    assert machine.memory_limit() == 4000 * 1024
    files["/sys/fs/cgroup/memory.max"] = "3000000"
    assert machine.memory_limit() == 3000000


_SMAPS = """\
7f0000000000-7f0000001000 r--p 00000000 08:01 11   /lib/library.so
Rss:                   4 kB
Anonymous:             0 kB
7f0000001000-7f0000003000 r-xp 00001000 08:01 11   /lib/library.so
Rss:                   8 kB
Anonymous:             0 kB
7f0000003000-7f0000004000 r--p 00003000 08:01 11   /lib/library.so
Anonymous:             4 kB
7f0000004000-7f0000005000 rw-p 00004000 08:01 11   /lib/library.so
Anonymous:             0 kB
7f0000005000-7f0000006000 r--s 00000000 08:01 12   /data/shared.bin
Anonymous:             0 kB
7f0000006000-7f0000007000 r-xp 00000000 00:00 0
Anonymous:             0 kB
7ffe00000000-7ffe00001000 r-xp 00000000 00:00 0    [vdso]
Anonymous:             0 kB
"""


def test_only_clean_private_file_mappings_are_released():
    # The third is changed by relocations, the fourth is writable, the others are shared or anonymous.
    assert machine.clean_file_mappings(_SMAPS.splitlines()) == [
        (0x7F0000000000, 0x7F0000001000),
        (0x7F0000001000, 0x7F0000003000),
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_libraries_still_work_after_their_pages_were_released():
    script = """
import torch
from foveal.machine import release_file_pages, rss
torch.manual_seed(0)
network, x = torch.nn.Conv2d(3, 8, 3), torch.rand(2, 3, 16, 16)
expected, before = network(x), rss()
release_file_pages()
after = rss()
assert torch.equal(network(x), expected)
network(x).sum().backward()
print(before - after)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 20 * MIB


def test_the_peak_is_not_inherited_from_the_parent_process():
    """`ru_maxrss` is, on Linux."""
    held = b"x" * (400 * MIB)
    code = "from foveal import machine; print(machine.peak_rss())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < len(held)


@pytest.mark.parametrize(
    ("given", "spins"), [({}, True), ({"OMP_WAIT_POLICY": "active"}, False), ({"GOMP_SPINCOUNT": "7"}, "7")]
)
def test_waiting_threads_yield_their_core_unless_the_user_has_set_otherwise(given, spins, monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    machine.share_cores()
    value = os.environ.get("GOMP_SPINCOUNT")
    assert value == spins if isinstance(spins, str) else (value is not None) is spins


def test_the_command_line_sets_it_before_torch_is_imported():
    code = "import os, sys; from foveal.cli.main import main; sys.argv = ['foveal', '--version']\n"
    code += "try: main()\nfinally: print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    number, torch = done.stdout.split()[-2:]
    assert int(number) > 0 and torch == "False"
