"""The planner against CUDA's allocator: the planned peak of a training step beside the measured one.

    python bench/cuda_peaks.py

Needs a CUDA GPU; `bench/gpu.sh` runs it with the rest. Writes `bench/results/cuda_peaks.json`.
"""

from __future__ import annotations

import torch

from common import Results
from foveal.models.resolve import resolve
from foveal.planner import plan
from foveal.planner.scenario import Scenario
from foveal.planner.steps import make_optimizer, prepared, train_step

NETWORKS = (("resnet18", 64), ("resnet50", 32), ("vgg16", 16), ("mobilenetv2_100", 64))
SHAPE = (3, 224, 224)


def measured_peak(name: str, batch: int) -> int:
    """Bytes that tensors took at most, in the second step: the first one allocates the optimizer's state."""
    scenario = Scenario(SHAPE, batch)
    module = prepared(resolve(name).build(SHAPE).cuda().train(), scenario)
    optimizer = make_optimizer(scenario.optimizer, module.parameters())
    inputs = torch.randn(batch, *SHAPE, device="cuda")
    targets = torch.zeros(batch, dtype=torch.long, device="cuda")
    for _ in range(2):
        torch.cuda.reset_peak_memory_stats()
        train_step(module, optimizer, inputs, targets, scenario)
        torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated())


def main() -> None:
    """One row per network."""
    results = Results("cuda_peaks")
    for name, batch in NETWORKS:
        planned = plan(name, input=SHAPE, batch=batch, device="cuda:24GiB", remedies=False).train.peak_bytes
        peak = measured_peak(name, batch)
        torch.cuda.empty_cache()
        results.add(model=name, batch=batch, planned=planned, measured=peak, error=planned / peak - 1)


if __name__ == "__main__":
    main()
