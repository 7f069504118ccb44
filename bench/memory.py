"""`train --memory`: does the process keep to the limit, and what does that cost in accuracy and time?

    uv run --group bench python bench/memory.py ../shared/data/scenes8

Full fine-tuning on the same images without a limit and within 4, 2 and 1.5 GiB, each in a fresh process with the same
time; and once in a cgroup of 2 GiB without the option, where this user may create one: the kernel kills a process that
needs more. Rows are kept in `bench/results/memory.json`. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from common import Results, timed
from foveal.machine import bytes_of

LIMITS = ("", "4GiB", "2GiB", "1536MiB", "cgroup 2GiB")
#: Where a cgroup can be created, and the file of its limit, for versions 2 and 1.
CGROUPS = (("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"))


@contextmanager
def cgroup(size: int) -> Iterator[Path]:
    """A cgroup with a limit of `size` bytes.

    Raises:
        SystemExit: when this user may not create one.
    """
    for root, name in CGROUPS:
        group = Path(root) / "foveal-bench"
        try:
            group.mkdir()
            if (group / name).exists():
                (group / name).write_text(str(size))
                yield group
                return
        except OSError as error:
            print(f"{group}: {error}", file=sys.stderr)
        finally:
            with suppress(OSError):
                group.rmdir()
    raise SystemExit("a cgroup can't be created here")


def within(group: Path, command: list[str]) -> list[str]:
    """The command, run by a shell that has joined the group."""
    return ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *command]


def run(data: Path, limit: str, time: str) -> dict[str, Any]:
    """One training run: planned memory, peak resident memory, and accuracy."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        environment = {**os.environ, "FOVEAL_CACHE": str(base / "cache"), "FOVEAL_STATE": str(base / "state")}
        command = [sys.executable, "-m", "foveal", "train", str(data), "--strategy", "fine-tune", "--time", time]
        command += ["--out", str(base / "run"), "--json"]
        if limit.startswith("cgroup"):
            with cgroup(bytes_of(limit.split()[1])) as group:
                seconds, printed = timed(within(group, command), env=environment)
        else:
            seconds, printed = timed([*command, *(["--memory", limit] if limit else [])], env=environment)
        summary = json.loads(printed)
        decisions = json.loads((base / "run" / "config.json").read_text())["decisions"]
    return {
        "limit": limit or "none",
        "budget_bytes": summary["memory"]["budget_bytes"],
        "planned_bytes": summary["memory"]["planned_bytes"],
        "peak_rss_bytes": summary["memory"]["peak_rss_bytes"],
        "within": summary["memory"]["peak_rss_bytes"] <= summary["memory"]["budget_bytes"],
        "accuracy": summary["test"]["accuracy"],
        "accuracy_ci95": summary["test"]["accuracy_ci95"],
        "n": summary["test"]["n"],
        "time": time,
        "seconds": seconds,
        "choices": {
            k: v["value"] for k, v in decisions.items() if k.endswith(("/memory", "/image_size", "/steps"))
        },
    }


def main() -> None:
    """All limits in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--time", default="5m")
    parser.add_argument("--only", help="one of the limits: none, 4GiB, 2GiB, 1536MiB, 'cgroup 2GiB'")
    arguments = parser.parse_args()
    results = Results("memory")
    for limit in LIMITS:
        if arguments.only in (None, limit or "none") and not results.of(limit=limit or "none"):
            results.add(**run(arguments.data, limit, arguments.time), data=arguments.data.name)


if __name__ == "__main__":
    main()
