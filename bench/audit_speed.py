"""`foveal audit` on 50,000 JPEG files of 32 × 32 pixels, and on a small sample, with nothing in the caches.

    uv run python bench/audit_speed.py --cifar10 ../shared/data/cifar10
    uv run python bench/audit_speed.py --cifar10 ../shared/data/cifar10 --beside ../earlier/src

Each row is a fresh process with a new cache folder. With `--beside` the package in another folder is measured in
turn, and must say the same of every image: its rows are printed, not kept. Other programs change the seconds a lot,
the CPU seconds less.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from common import Results, spread

SRC = Path(__file__).parent.parent / "src"
SAMPLE = "sample:clipart"
#: Of `audit --json`, what differs between two audits of the same files.
_OWN = ("seconds", "root")


def audited(data: str, src: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A cold audit by the package in `src`: its figures, and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(src)}
        environment |= {"FOVEAL_CACHE": f"{folder}/cache", "FOVEAL_STATE": f"{folder}/state"}
        command = [sys.executable, "-m", "foveal", "audit", data, "--json"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode > 1:  # 1: it has findings
            raise SystemExit(done.stderr[-2000:])
        # A sample is unpacked in the cache folder, and its paths are shown.
        said = json.loads(done.stdout.replace(folder, ""))
    figures = {
        "data": data if data == SAMPLE else "cifar10",
        "files": said["files"],
        "audit_s": said["seconds"],
        "process_cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }
    return figures, {name: value for name, value in said.items() if name not in _OWN}


def main() -> None:
    """Unpack, then measure in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, required=True)
    parser.add_argument("--shards", type=int, default=5, help="of 10,000 files each")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--beside", type=Path, help="the folder src of another version")
    arguments = parser.parse_args()
    results = Results("audit_speed")
    with tempfile.TemporaryDirectory() as folder:
        for shard in range(arguments.shards):
            with tarfile.open(arguments.cifar10 / f"train-{shard}.tar") as packed:
                packed.extractall(folder, filter="data")
        for data in (folder, SAMPLE) * arguments.repeats:
            figures, said = audited(data, SRC)
            if arguments.beside:
                other, also_said = audited(data, arguments.beside)
                print(json.dumps({"beside": other}), file=sys.stderr, flush=True)
                if also_said != said:
                    raise SystemExit(f"the two versions do not say the same of {figures['data']}")
            results.add(**figures)
    files = arguments.shards * 10_000
    rows = results.of(data="cifar10", files=files)
    results.save(
        files_per_s=spread(row["files"] / row["audit_s"] for row in rows),
        files_per_cpu_s=spread(row["files"] / row["process_cpu_s"] for row in rows),
        sample_s=spread(row["audit_s"] for row in results.of(data=SAMPLE)),
    )


if __name__ == "__main__":
    main()
