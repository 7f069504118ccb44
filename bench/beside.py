"""A training step while another program uses all cores: how long threads may spin before they yield.

    uv run python bench/beside.py [--runs 5]

libgomp's threads spin for milliseconds at the end of each parallel region, unless GOMP_SPINCOUNT limits it. If another
program is running, they occupy the core that the thread they wait for needs. Each row is a fresh process that trains
Lite0 at 96 px, alone and then with a process that multiplies matrices. Rows are kept in `bench/results/beside.json`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from common import Results, spread
from foveal.machine import cores, share_cores

STEPS, BATCH, SIDE = 12, 16, 96
#: With libgomp's defaults, and with the settings of foveal's command line.
WAYS = ("as it comes", "foveal")


def step_seconds() -> float:
    """Seconds of one training step, without the first two."""
    import torch

    from foveal.models.backbones import find_backbone
    from foveal.models.finetuned import pretrained

    torch.manual_seed(0)
    torch.set_num_threads(cores())
    network = pretrained(find_backbone(), 10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    images = torch.randn(BATCH, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    targets, began = torch.randint(0, 10, (BATCH,)), 0.0
    for step in range(STEPS + 2):
        began = time.perf_counter() if step == 2 else began
        optimizer.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(network(images), targets))
        optimizer.step()
    return (time.perf_counter() - began) / STEPS


def busy() -> None:
    """The other program: runs until it is killed."""
    import torch

    torch.set_num_threads(cores())
    square = torch.randn(700, 700)
    while True:
        square @ square


def measured(way: str) -> float:
    """Seconds of a step in a fresh process."""
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, __file__, "--step", way]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def main() -> None:
    """Measure what is missing, keep raw rows, summarize."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--step", choices=WAYS, help="run in this process and print the seconds per step")
    parser.add_argument("--busy", action="store_true", help="run as the other program")
    options = parser.parse_args()
    if options.busy:
        busy()
    if options.step:
        if options.step == "foveal":
            share_cores()
        print(step_seconds())
        return
    results = Results("beside")
    for run in range(len(results.rows), options.runs):
        alone = {way: measured(way) for way in WAYS}
        other = subprocess.Popen([sys.executable, __file__, "--busy"])
        try:
            time.sleep(4.0)
            beside = {way: measured(way) for way in WAYS}
        finally:
            other.kill()
        results.add(run=run, alone=alone, beside=beside)
    lines = {}
    for where in ("alone", "beside"):
        own, plain = ([1000 * r[where][way] for r in results.rows] for way in ("foveal", "as it comes"))
        times = spread(b / a for a, b in zip(own, plain, strict=True))
        name = "alone" if where == "alone" else "with a busy program"
        lines[f"a training step at {SIDE} px, {name}"] = (
            f"{spread(own)['mean']:.0f} ms, without `share_cores` {spread(plain)['mean']:.0f} ms: "
            f"{times['mean']:.2f} times as fast (sd {times['sd'] or 0:.2f}); n {len(own)}"
        )
    results.save(lines=lines)


if __name__ == "__main__":
    main()
