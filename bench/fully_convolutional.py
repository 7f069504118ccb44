"""One pass of a fully convolutional network against separate crops, on an image ten times as wide as those trained on.

uv run python bench/fully_convolutional.py [--runs 3]

Both compute the same number of predictions, one every `stride` pixels. Crops go through the classifier in batches of
32; the pass uses the network that `foveal.to_fully_convolutional` makes of it. Torch in fp32, channels_last. Crops are
timed on evenly spaced rows of the map (`--rows`), and scaled up to the whole map; the raw rows say how many were timed.
Besides wall time, the CPU time of all threads is recorded, which depends less on other programs on the machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import foveal
from common import Results, spread
from foveal.models import zoo
from foveal.models.backbones import find_backbone, load_network

SIDE, TIMES = 224, 10


def lite0() -> nn.Module:
    """The default backbone with its own classifier."""
    return load_network(find_backbone())


NETWORKS: dict[str, Callable[[], nn.Module]] = {"lite0": lite0, "resnet18": lambda: zoo.create("resnet18")}


def measure(name: str, rows: int) -> dict[str, Any]:
    """Seconds (wall, CPU) of one pass and of all crops, one after the other."""
    torch.manual_seed(0)
    classifier = NETWORKS[name]().eval().to(memory_format=torch.channels_last)
    network = foveal.to_fully_convolutional(classifier, size=SIDE)
    image = torch.randn(1, 3, TIMES * SIDE, TIMES * SIDE).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        network(image[:, :, : 2 * SIDE, : 2 * SIDE])  # warm
        began = clocks()
        logits = network(image)
        one_pass = clocks() - began
        height, width = logits.shape[2:]
        chosen = torch.linspace(0, height - 1, min(rows, height)).round().long().tolist()
        classifier(image[:, :, :SIDE, :SIDE])
        cutting = np.zeros(2)
        for i in chosen:
            y = network.stride * i
            for j in range(0, width, 32):
                places = [network.stride * k for k in range(j, min(j + 32, width))]
                began = clocks()
                crops = torch.cat([image[:, :, y : y + SIDE, x : x + SIDE] for x in places])
                classifier(crops)
                cutting += clocks() - began
    cutting *= height / len(chosen)
    return {
        "network": name,
        "answers": height * width,
        "stride": network.stride,
        "threads": torch.get_num_threads(),
        "crops_timed": len(chosen) * width,
        "pass_s": float(one_pass[0]),
        "crops_s": float(cutting[0]),
        "times": float(cutting[0] / one_pass[0]),
        "pass_cpu_s": float(one_pass[1]),
        "crops_cpu_s": float(cutting[1]),
        "cpu_times": float(cutting[1] / one_pass[1]),
    }


def clocks() -> NDArray[np.float64]:
    """Wall time and CPU time of this process, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    """Measure what is missing, keep raw rows, summarize."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=8, help="rows of the map whose crops are timed")
    options = parser.parse_args()
    results = Results("fully_convolutional")
    for name in NETWORKS:
        for run in range(len(results.of(network=name)), options.runs):
            results.add(run=run, **measure(name, options.rows))
    lines = {}
    for name in NETWORKS:
        rows = results.of(network=name)
        times, seconds = spread(r["times"] for r in rows), spread(r["pass_s"] for r in rows)
        sd = f"{times['sd']:.1f}" if times["sd"] is not None else "–"
        lines[f"one pass against crops, {name}, {TIMES * SIDE} px, {rows[0]['answers']} predictions"] = (
            f"{times['mean']:.0f} times faster (n {times['n']}, sd {sd}), {seconds['mean']:.1f} s; "
            f"{spread(r['cpu_times'] for r in rows)['mean']:.0f} times less CPU time"
        )
    results.save(lines=lines)


if __name__ == "__main__":
    main()
