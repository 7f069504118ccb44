"""The machine: limits that cgroups set, wherever they stand."""

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
def test_the_least_limit_of_all_groups_counts(files, limit, monkeypatch):
    monkeypatch.setattr(machine, "_lines", lambda path: files.get(str(path), "").splitlines())
    assert machine.cgroup_limit() == limit


def test_memory_is_the_least_of_the_limit_and_what_is_free(monkeypatch):
    files = {"/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 4000 kB", "/sys/fs/cgroup/memory.max": "5000000"}
    monkeypatch.setattr(machine, "_lines", lambda path: files.get(str(path), "").splitlines())
    assert machine.memory_limit() == 4000 * 1024
    files["/sys/fs/cgroup/memory.max"] = "3000000"
    assert machine.memory_limit() == 3000000
