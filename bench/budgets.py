"""What each time budget buys, on several kinds of images: is it kept, how much of it is used, does more help?

    uv run --group bench python bench/budgets.py --data NAME=DATA [--data …] [--budgets 5s 10s …] [--seeds 1]

Every row is a whole process of `foveal train DATA --time BUDGET` with empty caches. Rows that exist are not measured
again. Seconds are those of the process as its caller sees them, imports and the interpreter's end among them.
`--plot` draws accuracy against the budget for each kind of data into `docs/budgets.svg`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import Results
from foveal.clock import parse_duration

BUDGETS = ("5s", "10s", "15s", "30s", "1m", "2m", "4m", "10m")
FIGURE = Path(__file__).parent.parent / "docs" / "budgets.svg"
#: A budget is exceeded by more than this share of it, and by more than these seconds.
ALLOWED_SHARE, ALLOWED_SECONDS = 0.05, 1.0


def measure(name: str, data: str, budget: str, seed: int) -> dict[str, Any]:
    """One whole run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "foveal", "train", data, "--time", budget, "--seed", str(seed), "--json"]
        kept = {"FOVEAL_CACHE": f"{folder}/cache", "FOVEAL_STATE": f"{folder}/state"}
        began = time.monotonic()
        done = subprocess.run(
            [*command, "--out", f"{folder}/run"],
            env=os.environ | kept,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - began
    run = {"data": name, "budget_s": parse_duration(budget), "seed": seed, "process_s": round(seconds, 2)}
    if done.returncode:  # a slow machine may not reach one image of every class in five seconds
        return run | {"refused": done.stderr.splitlines()[-2:]}
    summary = json.loads(done.stdout)
    return run | {
        "run_s": summary["time"]["total_s"],
        "audit_s": summary["time"]["audit_s"],
        "strategy": summary["strategy"]["name"],
        "reason": summary["strategy"]["reason"],
        "n": summary["test"]["n"],
        "accuracy": summary["test"]["accuracy"],
        "accuracy_ci95": summary["test"]["accuracy_ci95"],
    }


def exceeded(row: dict[str, Any]) -> bool:
    """Whether the budget was exceeded by more than is allowed."""
    over, budget = float(row["process_s"] - row["budget_s"]), float(row["budget_s"])
    return over > max(ALLOWED_SECONDS, ALLOWED_SHARE * budget)


def draw(rows: list[dict[str, Any]]) -> None:
    """Accuracy against the budget, a line for each kind of data."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name in dict.fromkeys(r["data"] for r in rows):
        mine = sorted((r for r in rows if r["data"] == name and "accuracy" in r), key=lambda r: r["budget_s"])
        budgets = sorted({r["budget_s"] for r in mine})
        means = []
        for budget in budgets:
            scores = [100 * r["accuracy"] for r in mine if r["budget_s"] == budget]
            means.append(sum(scores) / len(scores))
        axes.plot(budgets, means, marker="o", label=name)
    axes.set(xscale="log", xlabel="--time, seconds", ylabel="test accuracy, %")
    ticks = sorted({r["budget_s"] for r in rows})
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(FIGURE, metadata={"Date": None})


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", default=[], metavar="NAME=DATA")
    parser.add_argument("--budgets", nargs="+", default=BUDGETS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--plot", action="store_true", help="only draw what was measured")
    given = parser.parse_args()
    results = Results("budgets")
    for budget in given.budgets:
        for name, _, data in (d.partition("=") for d in given.data):
            for seed in range(given.seeds):
                if not results.of(data=name, budget_s=parse_duration(budget), seed=seed):
                    results.add(**measure(name, data, budget, seed))
    late = [f"{r['data']} {r['budget_s']:.0f} s" for r in results.rows if exceeded(r)]
    shares = [r["process_s"] / r["budget_s"] for r in results.rows]
    if shares and not given.plot:
        results.save(summary={"runs": len(shares), "exceeded": late, "share_used_mean": sum(shares) / len(shares)})
    draw(results.rows)
    print(f"{len(shares)} runs, exceeded: {', '.join(late) or 'none'}")


if __name__ == "__main__":
    main()
