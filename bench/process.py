"""Resident memory of a training process besides its tensors: libraries, threads, and malloc's overhead.

    uv run --group bench python bench/process.py

Each row is a fresh process that trains for a few steps. Libraries and threads are what is resident after a first tiny
step, with one thread and with more; malloc's factor is the growth of resident memory from that step to the peak,
divided by the planned peak of the allocator. `src/foveal/planner/process.json`, which the planner reads, is written
from the rows: libraries and threads as medians, malloc's factor as the largest that was measured, since an estimate
that is too low kills a process and one that is too high only wastes some memory. Other programs may run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import Results
from foveal.memory_budget import MemoryBudget

WRITTEN = Path(__file__).parent.parent / "src" / "foveal" / "planner" / "process.json"
#: Network, batch size, image side.
CASES = (
    ("torchvision.models:resnet18", 8, 224),
    ("torchvision.models:resnet18", 32, 224),
    ("torchvision.models:resnet50", 8, 224),
    ("torchvision.models:mobilenet_v2", 16, 224),
    ("timm/tf_efficientnet_lite0", 32, 160),
    ("timm/convnext_atto", 16, 224),
    ("timm/vit_tiny_patch16_224", 16, 224),
)
THREADS = (1, 2)
STEPS = 4
#: Of linear probes; less than the first would be refused.
LIMITS = ("500MiB", "600MiB")


def child(network: str, batch: int, side: int, frugal: bool) -> dict[str, Any]:
    """Train in this process, and measure what is resident."""
    import torch

    from foveal.machine import peak_rss, return_large_blocks, rss
    from foveal.models.resolve import resolve
    from foveal.planner.backends import backend_for
    from foveal.planner.passes import replay_training
    from foveal.planner.scenario import Scenario
    from foveal.planner.steps import make_optimizer, train_step

    if frugal:
        return_large_blocks()
    tiny = Scenario((3, 32, 32), 4, "adamw")
    small = resolve("conv64k3s2-bn-relu-conv64-gap-flatten-dense10").build(tiny.input)
    small_optimizer = make_optimizer("adamw", small.parameters())
    scenario = Scenario((3, side, side), batch, "adamw")
    module = resolve(network).build(scenario.input).train()
    threads = torch.get_num_threads()
    peak = replay_training(module, scenario, backend_for("cpu", threads)).play(batch).peak
    weights = sum(t.nbytes for t in module.state_dict().values())
    imported = (rss() or 0) - weights
    for _ in range(2):
        targets = torch.randint(0, 10, (tiny.batch,))
        train_step(small, small_optimizer, torch.randn(tiny.batch, *tiny.input), targets, tiny)
    before = (rss() or 0) - weights
    optimizer = make_optimizer("adamw", module.parameters())
    for _ in range(STEPS):
        targets = torch.randint(0, 1000, (batch,))
        train_step(module, optimizer, torch.randn(batch, *scenario.input), targets, scenario)
    return {
        "planned_bytes": peak,
        "imported_bytes": imported,
        "before_bytes": before,
        "peak_rss_bytes": peak_rss(),
    }


def linear_probe(limit: str) -> dict[str, Any]:
    """Peak of a training without torch in a fresh process with a new cache, and what of it are rendered images."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FOVEAL_CACHE": f"{folder}/cache", "FOVEAL_STATE": f"{folder}/state"}
        command = [sys.executable, "-m", "foveal", "train", "sample:clipart", "--strategy", "frozen", "--json"]
        command += ["--memory", limit, "--out", f"{folder}/run"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    memory = json.loads(done.stdout)["memory"]
    rendered = MemoryBudget(memory["budget_bytes"]).render_cache
    return {"peak_rss_bytes": memory["peak_rss_bytes"], "rendered_bytes": rendered}


def run(network: str, batch: int, side: int, threads: int, frugal: bool) -> dict[str, Any]:
    """`child` in a fresh process."""
    case = json.dumps([network, batch, side, frugal])
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--child", case]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def derived(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures that the planner reads."""
    probes = [r["peak_rss_bytes"] - r["rendered_bytes"] for r in rows if "limit" in r]
    rows = [r for r in rows if "limit" not in r]
    alone = statistics.median(r["before_bytes"] for r in rows if r["threads"] == 1)
    several = [(r["before_bytes"] - alone) / (r["threads"] - 1) for r in rows if r["threads"] > 1]
    thread = max(0.0, statistics.median(several))

    def factors(frugal: bool) -> list[float]:
        some = [r for r in rows if r["frugal"] is frugal]
        return [(r["peak_rss_bytes"] - r["before_bytes"]) / r["planned_bytes"] for r in some]

    return {
        "libraries_bytes": round(alone - thread),
        "thread_bytes": round(thread),
        "first_step_bytes": max(r["before_bytes"] - r["imported_bytes"] for r in rows),
        "malloc": round(max(factors(False)), 2),
        "malloc_mean": round(statistics.fmean(factors(False)), 2),
        "malloc_frugal": round(max(factors(True)), 2),
        "linear_probe_bytes": max(probes),
        "n": len(rows),
    }


def main() -> None:
    """Measure what is missing, and write the planner's figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(child(*json.loads(arguments.child))))
        return
    results = Results("process")
    some = [(*case, threads) for case in CASES for threads in THREADS]
    for network, batch, side, threads in some:
        for frugal in (False, True):
            case = {"network": network, "batch": batch, "side": side, "threads": threads, "frugal": frugal}
            if not results.of(**case):
                results.add(**case, **run(network, batch, side, threads, frugal))
    for limit in LIMITS:
        if not results.of(limit=limit):
            results.add(limit=limit, **linear_probe(limit))
    figures = derived(results.rows)
    results.save(summary=figures)
    WRITTEN.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
