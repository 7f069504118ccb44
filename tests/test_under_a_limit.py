"""`train` in a real cgroup: the kernel kills a process that needs more than the limit, which no option names."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

LIMIT = 1536 * 2**20
#: Where a cgroup may be made, and the file of its limit, in version 2 and 1.
CGROUPS = (("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"))


@pytest.fixture
def group():
    for root, name in CGROUPS:
        folder = Path(root) / "foveal-test"
        try:
            folder.mkdir()
            if (folder / name).exists():
                (folder / name).write_text(str(LIMIT))
                yield folder
                return
        except OSError:
            continue
        finally:
            with suppress(OSError):
                folder.rmdir()
    pytest.skip("no cgroup can be made here")


def test_fine_tuning_stays_within_the_memory_of_its_cgroup(group, make_folder, tmp_path):
    photos = make_folder(tmp_path / "photos", {"one": 24, "other": 24}, size=(140, 120))
    command = [sys.executable, "-m", "foveal", "train", str(photos), "--strategy", "fine-tune", "--time", "20s"]
    command += ["--out", str(tmp_path / "run"), "--no-cache", "--json"]
    joined = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *command]
    done = subprocess.run(joined, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    memory = json.loads(done.stdout)["memory"]
    assert memory["budget_bytes"] <= LIMIT and memory["peak_rss_bytes"] < LIMIT
    decisions = json.loads((tmp_path / "run" / "config.json").read_text())["decisions"]
    chosen = decisions["fine-tune/memory"]["value"]
    assert chosen["fits"] and chosen["planned_bytes"] <= chosen["room_bytes"] < LIMIT
